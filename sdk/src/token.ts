/** Names a service and carries its type. Two tokens with one id are the same token. */
export interface Token<T> {
  readonly id: string;
  /** Phantom: only there to carry `T`. */
  readonly type?: T;
}

export function token<T>(id: string): Token<T> {
  return { id };
}
