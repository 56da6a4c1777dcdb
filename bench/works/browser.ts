import type { Work } from "../work.js";
import { alive } from "./alive.js";
import { append } from "./append.js";
import { beats } from "./beats.js";
import { burst } from "./burst.js";
import { events } from "./events.js";
import { leases } from "./leases.js";
import { list } from "./list.js";
import { open } from "./open.js";
import { rot } from "./rot.js";
import { roundTrip } from "./round-trip.js";
import { session } from "./session.js";
import { sessionGrowth } from "./session-growth.js";
import { signal } from "./signal.js";
import { stored } from "./stored.js";
import { suspended } from "./suspended.js";
import { sweep } from "./sweep.js";
import { tabs } from "./tabs.js";
import { takeover } from "./takeover.js";
import { waits } from "./waits.js";

/** Works in the order of the report. */
export const browserWorks: readonly Work[] = [
  append,
  burst,
  leases,
  events,
  alive,
  beats,
  session,
  sweep,
  suspended,
  rot,
  roundTrip,
  signal,
  takeover,
  tabs,
  open,
  stored,
  list,
  waits,
  sessionGrowth,
];
