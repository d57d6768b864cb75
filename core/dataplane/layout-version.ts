/**
 * Version of the pinned layouts this daemon reads and writes: LAYOUT_VERSION of bpf/maps/dataplane.h (a test compares).
 * A daemon adopts the maps of its own version and refuses others; only table sizes are migrated.
 */
export const LAYOUT_VERSION = 2;
