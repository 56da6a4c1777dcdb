export {
  type UsedProcess,
  type UsedSession,
  useHosts,
  useProcess,
  useProcesses,
  useSession,
  useSessions,
} from "./integrations/react/hooks.js";
export { HoldfastProvider, type HoldfastProviderProps, useKernel } from "./integrations/react/provider.js";
