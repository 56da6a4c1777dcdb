/** The part of the Web Locks API that a host's life is told by. */
export type Locks = Pick<LockManager, "request" | "query">;
