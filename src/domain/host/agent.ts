/** An agent as everybody sees it. All times in epoch milliseconds. */
export interface AgentRecord {
  agentId: string;
  /** Online: registered, and seen less than `timings.staleAfterMs` ago. */
  status: "online" | "offline";
  /** "deregistered" was said, "expired" is silence or the death of its host. */
  registration: "registered" | "deregistered" | "expired";
  /** 1 at the first registration, one more at every later one. */
  incarnation: number;
  /** Of the first registration. */
  registeredAtMs: number;
  /** The later of what it said itself and what its host said. */
  lastSeenAtMs: number;
  /** Only of agents that a host beats for: those of `kernel.agent()`. */
  hostId?: string;
}
