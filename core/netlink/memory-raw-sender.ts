/** For the memory backend: nothing leaves this process. */
import type { ClosableRawSender } from './types.js';

export class MemoryRawSender implements ClosableRawSender {
  send(): 'sent' {
    return 'sent';
  }

  close(): void {}
}
