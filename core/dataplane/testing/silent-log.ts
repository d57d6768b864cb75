import type { Logger } from '@loxilb/sdk';

export const silentLog: Logger = { debug() {}, info() {}, warn() {}, error() {} };
