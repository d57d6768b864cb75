import { defineConfig } from '@loxilb/sdk';

/** Plugins that are on, and their options. Copy this file to /etc/loxilb/ to change it. */
export default defineConfig({
  plugins: {
    version: {},
    port: {},
    route: {},
    neighbor: {},
    conntrack: {},
    lb: {},
    endpoint: {},
    observe: {},
  },
});
