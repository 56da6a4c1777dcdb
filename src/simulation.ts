export { manualClock } from "./adapters/clock-manual.js";
export type { FaultKind } from "./simulation/fault-kinds.js";
export { shrink } from "./simulation/shrink.js";
export type { WorkKind } from "./simulation/works/workload.js";
export { SIMULATION_RULES, type SimulationOptions, type SimulationReport, simulate } from "./simulation/world.js";
