import { z } from '@loxilb/sdk';

export const observeConfig = z.strictObject({
  /** Clients that may watch packets at a time. */
  maxWatchers: z.int().min(1).max(1000).default(16),
  /** Events kept for a client that does not take them; further ones are counted and told. */
  queueEvents: z.int().min(1).max(1_000_000).default(1000),
  /** Services with a time series of their own in `loxilb_service_drops_total`; the rest is added up. */
  serviceMetrics: z.int().min(0).max(10_000).default(100),
});
