export { manualClock } from "./adapters/clock-manual.js";
export type { SimulationReport } from "./simulation/chronicle.js";
export type { FaultKind } from "./simulation/fault-kinds.js";
export type { SimulationOptions } from "./simulation/options.js";
export { shrink } from "./simulation/shrink.js";
export { SIMULATION_RULES, simulate } from "./simulation/simulate.js";
export type { WorkKind } from "./simulation/works/workload.js";
