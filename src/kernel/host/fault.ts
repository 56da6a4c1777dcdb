import { asHoldfastError, type ErrorCode, isHoldfastError, shortened, textOfThrown } from "../../domain/errors.js";
import type { Fault } from "./loop-contract.js";

/** Trouble of holdfast's own work. `what` failed, if the thrown value does not say so itself. */
export function faultOf(area: string, thrown: unknown, what: string, ifUnknown: ErrorCode = "internal"): Fault {
  const { code, message } = asHoldfastError(thrown, ifUnknown, what);
  return { area, code, message, error: thrown };
}

/** The app's own function threw, or did what `did` says because of the thrown value. */
export function faultOfApp(area: "handler" | "turn" | "listener", which: string, thrown: unknown, did = "threw"): Fault {
  const code = isHoldfastError(thrown) ? thrown.code : "failed";
  return { area, code, message: shortened(`${which} ${did}: ${textOfThrown(thrown)}`), error: thrown };
}
