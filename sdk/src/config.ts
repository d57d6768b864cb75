/** Shape of `loxilb.config.ts`. The daemon checks it strictly: unknown members are refused with a hint. */
export interface LoxilbConfig {
  /**
   * Plugins that are on, with their options. A key is the name of a plugin that ships with loxilb, a path that starts
   * with `.` or `/` (relative to this file), or a package name.
   */
  readonly plugins: Readonly<Record<string, object>>;
  readonly api?: {
    /** `false` runs without a REST server. Default true. */
    readonly enabled?: boolean;
    /** Listen address. Default 127.0.0.1. */
    readonly host?: string;
    /** TCP port. Default 11111. */
    readonly port?: number;
    /** `current`: honest status codes (B). `legacy`: every answer 200, as releases before 0.9.8.5 (A). */
    readonly dialect?: 'current' | 'legacy';
  };
  readonly dataplane?: {
    readonly backend?: 'kernel' | 'memory';
    /** Allow list of interface names, `*` matches any text. Default: all usable ones. */
    readonly interfaces?: readonly string[];
    /** Folder for pinned maps, programs and links. Default /opt/loxilb/dp/bpf. */
    readonly bpfDir?: string;
    /** `auto` uses tcx links where the kernel has them. */
    readonly hook?: 'auto' | 'tcx' | 'clsact';
    /**
     * A second program in the driver for open flows. `auto`, the default: on real devices whose driver takes it.
     * `native`: wherever a driver takes it. `generic`: without drivers; slower, for tests.
     */
    readonly xdp?: 'auto' | 'off' | 'native' | 'generic';
    /** Switch IP forwarding on at start (kernel backend). Default true. */
    readonly manageSysctl?: boolean;
  };
  readonly stateDir?: string;
  /** Keep desired state in memory only. Default false. */
  readonly ephemeral?: boolean;
  readonly logLevel?: string;
}

/** Identity function that gives a config file its types. */
export function defineConfig(config: LoxilbConfig): LoxilbConfig {
  return config;
}
