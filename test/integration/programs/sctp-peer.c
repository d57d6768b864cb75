/*
 * An SCTP end point on top of libusrsctp, which needs no SCTP in the kernel: raw sockets carry its packets.
 *
 *   sctp-peer server PORT [ADDRESS...]            echoes every message
 *   sctp-peer client HOST PORT [ADDRESS...]       connects, sends each line of its input
 *
 * ADDRESS...: the local addresses used, all of them unless given. Tells on its output, a line each: `up`, `restart`,
 * `lost`, `shutdown`, `failed`, `< TEXT` for a message, `path ADDRESS up|down`, `peers ADDRESS...`.
 * Lines of the input that are no text to send: `.abort`, `.shutdown`, `.peers`.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usrsctp.h>

#define HEARTBEAT_MS 500

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static const char *address_text(const struct sockaddr *address, char *out, size_t size)
{
	const void *from = address->sa_family == AF_INET ? (void *)&((struct sockaddr_in *)address)->sin_addr
							 : (void *)&((struct sockaddr_in6 *)address)->sin6_addr;

	return inet_ntop(address->sa_family, from, out, size) ? out : "?";
}

/* Fills in an address; either family. */
static size_t parse_address(const char *text, int port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) {
		fprintf(stderr, "no address: %s\n", text);
		exit(2);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static void tell_peers(struct socket *sock)
{
	struct sockaddr *list;
	char line[1024] = "", one[INET6_ADDRSTRLEN];
	int i, count = usrsctp_getpaddrs(sock, 0, &list);
	char *at = (char *)list;

	for (i = 0; i < count; i++) {
		struct sockaddr *address = (struct sockaddr *)at;

		strcat(line, " ");
		strcat(line, address_text(address, one, sizeof(one)));
		at += address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	}
	if (count > 0)
		usrsctp_freepaddrs(list);
	say("peers%s", line);
}

static void tell_notification(const union sctp_notification *event)
{
	static const char *const changes[] = { [SCTP_COMM_UP] = "up",
					       [SCTP_COMM_LOST] = "lost",
					       [SCTP_RESTART] = "restart",
					       [SCTP_SHUTDOWN_COMP] = "shutdown",
					       [SCTP_CANT_STR_ASSOC] = "failed" };
	char one[INET6_ADDRSTRLEN];

	if (event->sn_header.sn_type == SCTP_ASSOC_CHANGE)
		say("%s", changes[event->sn_assoc_change.sac_state]);
	if (event->sn_header.sn_type == SCTP_PEER_ADDR_CHANGE) {
		const struct sctp_paddr_change *change = &event->sn_paddr_change;
		const char *state = change->spc_state == SCTP_ADDR_UNREACHABLE ? "down" : "up";

		if (change->spc_state == SCTP_ADDR_UNREACHABLE || change->spc_state == SCTP_ADDR_AVAILABLE ||
		    change->spc_state == SCTP_ADDR_CONFIRMED)
			say("path %s %s", address_text((struct sockaddr *)&change->spc_aaddr, one, sizeof(one)), state);
	}
}

static int receive(struct socket *sock, union sctp_sockstore address, void *data, size_t length,
		   struct sctp_rcvinfo info, int flags, void *context)
{
	int echo = *(int *)context;

	(void)address;
	(void)info;
	if (!data)
		return 1;
	if (flags & MSG_NOTIFICATION) {
		tell_notification(data);
	} else {
		if (echo)
			usrsctp_sendv(sock, data, length, NULL, 0, NULL, 0, SCTP_SENDV_NOINFO, 0);
		say("< %.*s", length > 60 ? 60 : (int)length, (char *)data);
	}
	free(data);
	return 1;
}

static void set(struct socket *sock, int option, const void *value, socklen_t size)
{
	if (usrsctp_setsockopt(sock, IPPROTO_SCTP, option, value, size))
		die("usrsctp_setsockopt");
}

/* Fails over within a few seconds, and tells what happens. */
static void configure(struct socket *sock)
{
	const uint16_t events[] = { SCTP_ASSOC_CHANGE, SCTP_PEER_ADDR_CHANGE };
	struct sctp_rtoinfo rto = { .srto_initial = 500, .srto_min = 200, .srto_max = 1000 };
	struct sctp_paddrparams paths = { .spp_hbinterval = HEARTBEAT_MS,
					  .spp_pathmaxrxt = 2,
					  .spp_flags = SPP_HB_ENABLE };
	struct sctp_assocparams association = { .sasoc_asocmaxrxt = 12 };
	const int on = 1;
	size_t i;

	for (i = 0; i < sizeof(events) / sizeof(*events); i++) {
		struct sctp_event event = { .se_assoc_id = SCTP_FUTURE_ASSOC, .se_type = events[i], .se_on = 1 };

		set(sock, SCTP_EVENT, &event, sizeof(event));
	}
	set(sock, SCTP_RTOINFO, &rto, sizeof(rto));
	paths.spp_address.ss_family = AF_INET;
	set(sock, SCTP_PEER_ADDR_PARAMS, &paths, sizeof(paths));
	set(sock, SCTP_ASSOCINFO, &association, sizeof(association));
	set(sock, SCTP_NODELAY, &on, sizeof(on));
}

static void bind_addresses(struct socket *sock, int port, int count, char **texts, int family)
{
	const char *any = family == AF_INET ? "0.0.0.0" : "::";
	struct sockaddr_storage address;
	size_t size = parse_address(count ? texts[0] : any, port, &address);
	int i;

	if (usrsctp_bind(sock, (struct sockaddr *)&address, size))
		die("usrsctp_bind");
	for (i = 1; i < count; i++) {
		/* The port is the first one's. */
		parse_address(texts[i], 0, &address);
		if (usrsctp_bindx(sock, (struct sockaddr *)&address, 1, SCTP_BINDX_ADD_ADDR))
			die("usrsctp_bindx");
	}
}

static int family_of(const char *text)
{
	return strchr(text, ':') ? AF_INET6 : AF_INET;
}

static void serve(int port, int count, char **addresses)
{
	int family = count ? family_of(addresses[0]) : AF_INET, echo = 1;
	struct socket *listener = usrsctp_socket(family, SOCK_STREAM, IPPROTO_SCTP, receive, NULL, 0, &echo);

	if (!listener)
		die("usrsctp_socket");
	configure(listener);
	bind_addresses(listener, port, count, addresses, family);
	if (usrsctp_listen(listener, 8))
		die("usrsctp_listen");
	say("listening");
	while (usrsctp_accept(listener, NULL, NULL))
		;
	die("usrsctp_accept");
}

static void talk(const char *host, int port, int count, char **addresses)
{
	struct sctp_sndinfo abort_now = { .snd_flags = SCTP_ABORT };
	int family = family_of(host), echo = 0;
	struct sockaddr_storage address;
	char line[65536];
	struct socket *sock = usrsctp_socket(family, SOCK_STREAM, IPPROTO_SCTP, receive, NULL, 0, &echo);
	size_t size = parse_address(host, port, &address);

	if (!sock)
		die("usrsctp_socket");
	configure(sock);
	bind_addresses(sock, getenv("SCTP_PORT") ? atoi(getenv("SCTP_PORT")) : 0, count, addresses, family);
	if (usrsctp_connect(sock, (struct sockaddr *)&address, size))
		die("usrsctp_connect");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, ".abort"))
			usrsctp_sendv(sock, "", 0, NULL, 0, &abort_now, sizeof(abort_now), SCTP_SENDV_SNDINFO, 0);
		else if (!strcmp(line, ".shutdown"))
			usrsctp_shutdown(sock, SHUT_WR);
		else if (!strcmp(line, ".peers"))
			tell_peers(sock);
		else if (usrsctp_sendv(sock, line, strlen(line), NULL, 0, NULL, 0, SCTP_SENDV_NOINFO, 0) < 0)
			say("not sent");
	}
}

int main(int argc, char **argv)
{
	int server = argc > 2 && !strcmp(argv[1], "server");

	if (!server && !(argc > 3 && !strcmp(argv[1], "client"))) {
		fprintf(stderr, "usage: sctp-peer server PORT [ADDRESS...] | client HOST PORT [ADDRESS...]\n");
		return 2;
	}
	usrsctp_init(0, NULL, NULL);
	/* Every stack of a namespace sees all packets: only a server says that it knows nothing of one. */
	usrsctp_sysctl_set_sctp_blackhole(server ? 0 : 2);
	usrsctp_sysctl_set_sctp_ecn_enable(0);
	if (server)
		serve(atoi(argv[2]), argc - 3, argv + 3);
	else
		talk(argv[2], atoi(argv[3]), argc - 4, argv + 4);
	return 0;
}
