/*
 * fragments SOURCE SPORT TARGET PORT BYTES ORDER [COUNT]: sends a UDP datagram of BYTES bytes in fragments of at most 1400
 * bytes through a raw socket, from an ordinary socket's address, and says whether that socket gets the same bytes back:
 * "echoed" or "silent". ORDER:
 *
 *   kernel     the kernel fragments it; again every second until there is an answer, five times at most
 *   forward    as they come
 *   reverse    the last one first
 *   shuffle    in any order
 *   duplicate  shuffled, each of them twice
 *   overlap    a second one in the middle covers eight bytes of the first: receivers have to drop it
 *   headless   all but the first one; COUNT datagrams, and no answer is waited for
 *   tailless   all but the last one; the same
 *
 * No two datagrams have one identification, as long as those who call count SPORT up: the parts of the one would be taken
 * for the other's.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Leaves room for a tunnel. */
#define PACKET 1400
#define HEADERS_MAX 48
#define PARTS_MAX 64
/* Linux queues a thousand packets between two ends of a wire while nobody has the time to take them out. */
#define BURST 200

struct address {
	int family;
	socklen_t length;
	struct sockaddr_storage socket;
	uint8_t bytes[16];
	int size;
};

struct part {
	int offset;
	int length;
	int more;
};

static uint8_t datagram[65536];

static struct address parse(const char *text, int port)
{
	struct address a = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	a.size = a.family == AF_INET ? 4 : 16;
	if (inet_pton(a.family, text, a.bytes) != 1)
		exit(2);
	a.socket.ss_family = a.family;
	if (a.family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&a.socket;

		a.length = sizeof(*in);
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a.bytes, 4);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.socket;

		a.length = sizeof(*in6);
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, a.bytes, 16);
	}
	return a;
}

static uint32_t sum16(const uint8_t *bytes, int length, uint32_t sum)
{
	for (int i = 0; i + 1 < length; i += 2)
		sum += bytes[i] << 8 | bytes[i + 1];
	if (length & 1)
		sum += bytes[length - 1] << 8;
	return sum;
}

/* UDP header and payload; returns their length. */
static int fill(const struct address *from, const struct address *to, int sport, int port, int bytes)
{
	int length = 8 + bytes;
	uint32_t sum;

	datagram[0] = sport >> 8, datagram[1] = sport;
	datagram[2] = port >> 8, datagram[3] = port;
	datagram[4] = length >> 8, datagram[5] = length;
	datagram[6] = datagram[7] = 0;
	for (int i = 0; i < bytes; i++)
		datagram[8 + i] = rand() >> 8;
	sum = sum16(from->bytes, from->size, IPPROTO_UDP + length);
	sum = sum16(to->bytes, to->size, sum);
	sum = sum16(datagram, length, sum);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = sum == 0xffff ? sum : ~sum;
	datagram[6] = sum >> 8, datagram[7] = sum;
	return length;
}

static int header_v4(uint8_t *h, const struct address *from, const struct address *to, uint32_t id, struct part p)
{
	int length = 20 + p.length, field = p.offset / 8 | (p.more ? 0x2000 : 0);

	/* The kernel fills in the checksum. */
	memset(h, 0, 20);
	h[0] = 0x45;
	h[2] = length >> 8, h[3] = length;
	h[4] = id >> 8, h[5] = id;
	h[6] = field >> 8, h[7] = field;
	h[8] = 64;
	h[9] = IPPROTO_UDP;
	memcpy(h + 12, from->bytes, 4);
	memcpy(h + 16, to->bytes, 4);
	return 20;
}

static int header_v6(uint8_t *h, const struct address *from, const struct address *to, uint32_t id, struct part p)
{
	int length = 8 + p.length, field = p.offset | p.more;

	memset(h, 0, 48);
	h[0] = 0x60;
	h[4] = length >> 8, h[5] = length;
	h[6] = IPPROTO_FRAGMENT;
	h[7] = 64;
	memcpy(h + 8, from->bytes, 16);
	memcpy(h + 24, to->bytes, 16);
	h[40] = IPPROTO_UDP;
	h[42] = field >> 8, h[43] = field;
	id = htonl(id);
	memcpy(h + 44, &id, 4);
	return 48;
}

static void send_part(int raw, const struct address *from, const struct address *to, uint32_t id, struct part p)
{
	uint8_t packet[PACKET];
	struct sockaddr_storage where = to->socket;
	int size = from->family == AF_INET ? header_v4(packet, from, to, id, p) : header_v6(packet, from, to, id, p);

	if (to->family == AF_INET6)
		((struct sockaddr_in6 *)&where)->sin6_port = 0;
	memcpy(packet + size, datagram + p.offset, p.length);
	if (sendto(raw, packet, size + p.length, 0, (struct sockaddr *)&where, to->length) < 0) {
		perror("sendto");
		exit(1);
	}
}

static void shuffle(struct part *parts, int count)
{
	for (int i = count - 1; i > 0; i--) {
		int other = rand() % (i + 1);
		struct part swap = parts[i];

		parts[i] = parts[other];
		parts[other] = swap;
	}
}

static int cut(struct part *parts, int length, const char *order)
{
	/* A whole number of eight bytes that leaves room for both kinds of headers. */
	int chunk = PACKET - HEADERS_MAX, count = 0;

	for (int offset = 0; offset < length; offset += chunk) {
		int rest = length - offset;

		parts[count++] = (struct part){ offset, rest < chunk ? rest : chunk, rest > chunk };
	}
	if (!strcmp(order, "reverse")) {
		for (int i = 0; i < count / 2; i++) {
			struct part swap = parts[i];

			parts[i] = parts[count - 1 - i];
			parts[count - 1 - i] = swap;
		}
	} else if (!strcmp(order, "shuffle")) {
		shuffle(parts, count);
	} else if (!strcmp(order, "duplicate")) {
		memcpy(parts + count, parts, count * sizeof(*parts));
		count *= 2;
		shuffle(parts, count);
	} else if (!strcmp(order, "overlap")) {
		memmove(parts + 2, parts + 1, (count - 1) * sizeof(*parts));
		parts[1] = (struct part){ chunk - 8, 16, 1 };
		count++;
	} else if (!strcmp(order, "headless")) {
		memmove(parts, parts + 1, --count * sizeof(*parts));
	} else if (!strcmp(order, "tailless")) {
		count--;
	}
	return count;
}

static int is_echoed(int udp, int bytes, int ms)
{
	static uint8_t answer[65536];
	struct pollfd wait = { udp, POLLIN, 0 };

	while (poll(&wait, 1, ms) == 1) {
		int got = recv(udp, answer, sizeof(answer), 0);

		if (got == bytes && !memcmp(answer, datagram + 8, bytes))
			return 1;
		if (got >= 0) {
			printf("different: %d of %d bytes\n", got, bytes);
			exit(1);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 7)
		return 2;
	int sport = atoi(argv[2]), port = atoi(argv[4]), bytes = atoi(argv[5]), count = argc > 7 ? atoi(argv[7]) : 1;
	struct address from = parse(argv[1], sport), to = parse(argv[3], port);
	const char *order = argv[6];
	int udp = socket(from.family, SOCK_DGRAM, 0), raw = socket(from.family, SOCK_RAW, IPPROTO_RAW), big = 1 << 20;
	struct part parts[2 * PARTS_MAX];
	int echoed = 0;

	srand(time(NULL) ^ getpid() << 8);
	setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	if (raw < 0 || bind(udp, (struct sockaddr *)&from.socket, from.length) ||
	    connect(udp, (struct sockaddr *)&to.socket, to.length)) {
		perror("socket");
		return 1;
	}
	if (!strcmp(order, "kernel")) {
		fill(&from, &to, sport, port, bytes);
		for (int i = 0; i < 5 && !echoed; i++) {
			(void)!send(udp, datagram + 8, bytes, 0);
			echoed = is_echoed(udp, bytes, 1000);
		}
	}
	for (int n = 0, sent = 0; strcmp(order, "kernel") && n < count; n++) {
		int length = fill(&from, &to, sport, port, bytes);
		uint32_t id = count == 1 ? sport & 0x7fff : 0x8000 | ((sport << 11 | n) & 0x7fff);
		int pieces = cut(parts, length, order);

		for (int i = 0; i < pieces; i++) {
			send_part(raw, &from, &to, id, parts[i]);
			if (++sent % BURST == 0)
				usleep(2000);
		}
	}
	if (!strcmp(order, "headless") || !strcmp(order, "tailless"))
		return printf("sent\n") < 0;
	if (strcmp(order, "kernel"))
		echoed = is_echoed(udp, bytes, 5000);
	puts(echoed ? "echoed" : "silent");
	return 0;
}
