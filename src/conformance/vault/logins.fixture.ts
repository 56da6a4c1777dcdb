import { isHoldfastError } from "../../domain/errors.js";
import type { Kernel } from "../../kernel/kernel.js";
import { refusal } from "../kit/fixture.js";
import { isInPlace } from "./vault.fixture.js";

export const TEN_MINUTES = 600_000;
export const target = { realm: "work", binding: "mail" };
export const other = { ...target, profile: "second" };
export const login = { target, provider: "google", redirectUri: "https://app/back", pkceVerifier: "verifier-of-the-app" };
export const device = { target, provider: "github", deviceCode: "code-of-the-device", expiresInMs: 60_000 };
export const claimOf = (state: string) => ({ state, target, provider: login.provider, redirectUri: login.redirectUri });

/** Two kernels with the same flows. Where flows live in one kernel's memory, that kernel twice. */
export async function pair(first: Kernel, openMore: () => Promise<Kernel>): Promise<[Kernel, Kernel]> {
  return [first, (await isInPlace(first)) ? await openMore() : first];
}

/** Fails unless the call is refused with that code and that reason. */
export async function refusedFor(call: Promise<unknown>, reason: string, code: string): Promise<void> {
  const error = await refusal(call);
  if (!isHoldfastError(error)) throw error;
  const found = (error.details as { reason?: string } | undefined)?.reason;
  if (found !== reason || error.code !== code) throw new Error(`expected ${reason} (${code}), got ${found} (${error.code})`);
}

export const stored = async ({ runtime }: Kernel) => {
  const bytes = await runtime.loadAuthOAuthFlowSnapshot();
  if (!bytes) return { browser: [], device: [] };
  return JSON.parse(new TextDecoder().decode(bytes)) as {
    browser: Record<string, unknown>[];
    device: Record<string, unknown>[];
  };
};

export const jsonBytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
