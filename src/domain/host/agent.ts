/** A stored agent, the same for every host of the database. All times in epoch milliseconds. */
export interface AgentRecord {
  agentId: string;
  /** Online: registered, and seen less than `timings.staleAfterMs` ago. */
  status: "online" | "offline";
  /** "deregistered" by a call; "expired" after silence or the death of its host. */
  registration: "registered" | "deregistered" | "expired";
  /** 1 at the first registration; every later registration adds one. */
  incarnation: number;
  /** Time of the first registration. */
  registeredAtMs: number;
  /** The later of the agent's own beat and its host's beat. */
  lastSeenAtMs: number;
  /** Only of agents that a host beats for: those of `kernel.agent()`. */
  hostId?: string;
}
