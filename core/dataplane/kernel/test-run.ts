export interface TestRunContext {
  /** Interface the packet is on, 0 for none. */
  readonly ifindex?: number;
  readonly ingressIfindex?: number;
  readonly mark?: number;
  readonly repeat?: number;
}

export interface TestRunResult {
  readonly retval: number;
  /** The packet as the program left it, Ethernet header first. */
  readonly data: Uint8Array;
  /** Mean time of one run in nanoseconds. */
  readonly durationNs: number;
}

export declare function testRun(programFd: number, packet: Uint8Array, context?: TestRunContext): TestRunResult;
