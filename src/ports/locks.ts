/** The part of the Web Locks API that shows whether a host lives. */
export type Locks = Pick<LockManager, "request" | "query">;
