/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp-blast sink PORT              counts datagrams
 * udp-blast send ADDR PORT MS [FLOWS [PAYLOAD]]
 *
 * Sends datagrams as fast as one core can (sendmmsg) from FLOWS source ports, and prints as JSON how many left and how
 * many the sink counted. A datagram of one byte is a question: 'h' (hello) makes the sink forget its counts, 'r' (report)
 * makes it answer them. The hello also shows that the path works both ways before anything is counted.
 * 18 bytes of payload make an Ethernet frame of 64 bytes with its check sequence.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define MAX_PAYLOAD 1472
#define MAX_FLOWS 4096

struct report {
	uint64_t packets;
	uint64_t ns; /* from the first to the last counted */
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int udp_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 64 << 20;

	if (fd < 0)
		fail("socket");
	/* The default buffer holds a few hundred small datagrams: the sink's scheduling would be measured. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		fail("SO_RCVBUFFORCE");
	return fd;
}

/* Where a datagram went to: behind direct server return that is the service's address. */
union destination {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void answer(int fd, const struct msghdr *from, const struct report *report)
{
	struct iovec data = { (void *)report, sizeof(*report) };
	struct msghdr reply = {
		.msg_name = from->msg_name, .msg_namelen = from->msg_namelen, .msg_iov = &data, .msg_iovlen = 1
	};
	struct in_pktinfo *info = (void *)CMSG_DATA((struct cmsghdr *)from->msg_control);

	/* From there: the interface would choose another of the machine's. */
	if (from->msg_controllen) {
		info->ipi_spec_dst = info->ipi_addr;
		info->ipi_ifindex = 0;
		reply.msg_control = from->msg_control;
		reply.msg_controllen = from->msg_controllen;
	}
	if (sendmsg(fd, &reply, 0) < 0)
		perror("answer");
}

static _Noreturn void sink(int port)
{
	static char payload[BATCH][MAX_PAYLOAD];
	static struct sockaddr_in from[BATCH];
	static union destination to[BATCH];
	struct mmsghdr messages[BATCH] = {};
	struct iovec data[BATCH];
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct report report = {};
	uint64_t first = 0;
	int fd = udp_socket(), on = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)))
		fail("IP_PKTINFO");
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)))
		fail("bind");
	for (int i = 0; i < BATCH; i++) {
		data[i] = (struct iovec){ payload[i], MAX_PAYLOAD };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_iov = &data[i], .msg_iovlen = 1 };
	}
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			messages[i].msg_hdr.msg_namelen = sizeof(from[i]);
			messages[i].msg_hdr.msg_control = &to[i];
			messages[i].msg_hdr.msg_controllen = sizeof(to[i]);
		}
		int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno != EINTR)
			fail("recvmmsg");
		uint64_t t = now();

		for (int i = 0; i < n; i++) {
			if (messages[i].msg_len != 1) {
				if (!report.packets++)
					first = t;
				report.ns = t - first;
				continue;
			}
			if (payload[i][0] == 'h')
				memset(&report, 0, sizeof(report));
			answer(fd, &messages[i].msg_hdr, &report);
		}
	}
}

static int ask(int fd, char question, struct report *report, int tries)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	while (tries-- > 0) {
		if (send(fd, &question, 1, 0) < 0 && errno != ECONNREFUSED)
			return -1;
		if (poll(&ready, 1, 200) > 0 && recv(fd, report, sizeof(*report), 0) == sizeof(*report))
			return 0;
	}
	return -1;
}

static int connected(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = udp_socket();

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		fprintf(stderr, "not an IPv4 address: %s\n", address);
		exit(2);
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("connect");
	return fd;
}

/* The sink may still be working off its buffer: asks until two answers agree. */
static int final_report(int fd, struct report *report)
{
	uint64_t last = UINT64_MAX;

	for (int i = 0; i < 50; i++) {
		if (ask(fd, 'r', report, 5))
			return -1;
		if (report->packets == last)
			return 0;
		last = report->packets;
		usleep(5000);
	}
	return 0;
}

static int sender(const char *address, int port, int ms, int flows, int payload)
{
	static char bytes[MAX_PAYLOAD];
	static int fds[MAX_FLOWS];
	struct mmsghdr messages[BATCH] = {};
	struct iovec data = { bytes, payload };
	struct report report;
	uint64_t sent = 0, begin, end;

	for (int i = 0; i < flows; i++) {
		fds[i] = connected(address, port);
		/* Both directions of every flow are known before the count begins. */
		if (ask(fds[i], 'h', &report, 10)) {
			fprintf(stderr, "no answer from %s:%d\n", address, port);
			return 1;
		}
	}
	for (int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &data, .msg_iovlen = 1 };
	begin = now();
	end = begin + (uint64_t)ms * 1000000;
	for (int i = 0; now() < end; i = (i + 1) % flows) {
		int n = sendmmsg(fds[i], messages, BATCH, 0);

		if (n > 0)
			sent += n;
		else if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED)
			fail("sendmmsg");
	}
	end = now();
	if (final_report(fds[0], &report)) {
		fprintf(stderr, "the sink did not report\n");
		return 1;
	}
	printf("{\"sent\":%llu,\"sendSeconds\":%.6f,\"received\":%llu,\"receiveSeconds\":%.6f}\n",
	       (unsigned long long)sent, (end - begin) / 1e9, (unsigned long long)report.packets, report.ns / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	int flows = argc > 5 ? atoi(argv[5]) : 1, payload = argc > 6 ? atoi(argv[6]) : 18;

	if (argc == 3 && !strcmp(argv[1], "sink"))
		sink(atoi(argv[2]));
	if (argc >= 5 && !strcmp(argv[1], "send") && flows > 0 && flows <= MAX_FLOWS && payload > 1 &&
	    payload <= MAX_PAYLOAD)
		return sender(argv[2], atoi(argv[3]), atoi(argv[4]), flows, payload);
	fprintf(stderr, "usage: udp-blast sink PORT | udp-blast send ADDRESS PORT MS [FLOWS [PAYLOAD]]\n");
	return 2;
}
