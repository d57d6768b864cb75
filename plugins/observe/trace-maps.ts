/**
 * What a trace takes from the running packet path, and how. Every map of the object is in exactly one of these lists
 * (a test compares them with the C sources), because a map in the wrong one either leaves traces of a trace behind or
 * makes it decide as if nothing were configured.
 *
 * The rule: a map is shared when only the daemon writes it. Whatever a program writes - also a counter - is the
 * instance's own.
 */

/** Configuration: the instance reads the real ones. */
export const SHARED_MAPS: readonly string[] = [
  'dp_control',
  'dp_xdp_device',
  'intf_map',
  'lb_address',
  'lb_control',
  'lb_endpoint',
  'lb_range',
  'lb_sctp_vips',
  'lb_service',
  'lb_slot',
  'lb_source',
];

/**
 * State a program finds by key: entries are fetched from the real table as the packet needs them. It needs those of its
 * own flow, and those it would have met where it wrote an entry of its own.
 */
export const FETCHED_MAPS: readonly string[] = ['ct_flow', 'ct_new', 'ct_sctp_assoc', 'ct_sctp_offer', 'lb_affinity'];

/**
 * State a program finds by number: cursors, idle times, flows that are counted. Elements of the services the packet may
 * be for are copied.
 */
export const COPIED_MAPS = ['lb_ep_flows', 'lb_svc_state'] as const;

/** State a program finds by an address or a hash, few entries: the instance begins with all of them. */
export const BEGUN_MAPS: readonly string[] = ['ct_sctp_begun', 'lb_tunnel_mtu'];

/** What it only writes, and state that changes no decision about one packet: empty at first. */
export const EMPTY_MAPS: readonly string[] = [
  'ct_half_open',
  'ct_idle',
  'ct_pass',
  'ct_reset',
  'dp_counter',
  'dp_event',
  'dp_observe',
  'dp_service_drop',
  'dp_trace',
  'frag_flow',
  'frag_held',
  'frag_scratch',
  'lb_ep_stats',
];

/** As long as the running ones these would take megabytes for each CPU, and nothing reads them. */
export const SMALL_MAPS: Readonly<Record<string, number>> = { lb_ep_stats: 1 };
