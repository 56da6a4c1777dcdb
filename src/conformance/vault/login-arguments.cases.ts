import type { OAuthFlows } from "../../kernel/vault/oauth-flows.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch } from "../kit/fixture.js";
import { hostileObjects, noId, noObject, type Values } from "../kit/hostile.js";
import { claimOf, device, login, target } from "./logins.fixture.js";

/** Wrong arguments of logins. */
export function loginArgumentCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const noTarget = (call: (auth: OAuthFlows, value: never) => Promise<unknown>, field: string): Wrong[] => [
    [field, noObject, call],
    [`${field}.realm`, noId, (auth, realm) => call(auth, { ...target, realm } as never)],
    [`${field}.binding`, noId, (auth, binding) => call(auth, { ...target, binding } as never)],
    [`${field}.profile`, ifGiven(noId), (auth, profile) => call(auth, { ...target, profile } as never)],
  ];

  const noMembers = (
    valid: object,
    texts: readonly string[],
    call: (auth: OAuthFlows, value: never) => Promise<unknown>,
  ): Wrong[] => [
    ["flow", () => ({ undefined: undefined, ...noObject() }), call],
    ...texts.map(
      (name): Wrong => [`flow.${name}`, long(noId), (auth, value) => call(auth, { ...valid, [name]: value } as never)],
    ),
    ...noTarget((auth, value) => call(auth, { ...valid, target: value } as never), "flow.target"),
  ];

  const FIELDS: Record<string, Wrong[]> = {
    beginBrowser: noMembers(login, ["provider", "redirectUri", "pkceVerifier"], (auth, flow) => auth.beginBrowser(flow)),
    verifyBrowser: noMembers(claimOf("s"), ["state", "provider", "redirectUri"], (auth, flow) => auth.verifyBrowser(flow)),
    consumeBrowser: noMembers(claimOf("s"), ["state", "provider", "redirectUri"], (auth, flow) => auth.consumeBrowser(flow)),
    admitDevice: noMembers(device, ["provider", "deviceCode"], (auth, flow) => auth.admitDevice(flow)),
    pollDevice: noMembers(device, ["provider", "deviceCode"], (auth, flow) => auth.pollDevice(flow)),
    release: noTarget((auth, value) => auth.release(value), "target"),
  };

  for (const [method, fields] of Object.entries(FIELDS)) {
    promise(`${method} refuses what cannot be an argument, by its field, and stores nothing`, async ({ kernel }) => {
      const wrong: string[] = [];
      for (const [field, values, call] of fields) {
        for (const [what, value] of Object.entries(values())) {
          const problem = await refusalMismatch(call(kernel.auth, value as never), "invalid", field);
          if (problem !== undefined) wrong.push(`${field} ${what}: ${problem}`);
        }
      }
      expect(wrong).toEqual([]);
      expect(await kernel.runtime.loadAuthOAuthFlowSnapshot()).toBe(undefined);
    });
  }
}

type Wrong = [field: string, values: () => Values, call: (auth: OAuthFlows, value: never) => Promise<unknown>];

const ifGiven = (values: () => Values) => () =>
  Object.fromEntries(Object.entries(values()).filter(([, value]) => value !== undefined));

/** URIs, verifiers and codes may be longer than an id. */
const long = (values: () => Values) => () => ({ ...values(), "one too long": "x".repeat(4_097), ...hostileObjects() });
