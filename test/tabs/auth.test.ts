// Logins and secrets in several tabs: one tab consumes a flow, one polls for a device code, and no tab's change is lost.
import { expect, it } from "vitest";
import { eventually, type Missing, newName, openTabs, useTabs } from "./harness.js";

useTabs();

const target = { realm: "work", binding: "mail" };
const login = { target, provider: "google", redirectUri: "https://app/back", pkceVerifier: "verifier" };
const device = { target, provider: "github", deviceCode: "code", expiresInMs: 60_000 };

const platforms: [string, Missing[]][] = [
  ["with Web Locks", []],
  ["without Web Locks", ["locks"]],
];

it.each(platforms)("has one tab consume a login whenever two try at once, %s (R-163)", async (_, without) => {
  const [a, b] = await openTabs(["a", "b"], { name: newName(), loop: "off", without });
  for (let round = 0; round < 20; round++) {
    const { state } = await (round % 2 ? a : b).call(({ kernel }, flow) => kernel.auth.beginBrowser(flow), login);
    const outcomes = await Promise.all(
      [a, b].map((tab) =>
        tab.call(
          async ({ kernel, codeOf }, claim) => {
            const consumed = kernel.auth.consumeBrowser(claim);
            return (await codeOf(consumed)) === "resolved" ? await consumed : await codeOf(consumed);
          },
          { state, target, provider: login.provider, redirectUri: login.redirectUri },
        ),
      ),
    );
    expect(outcomes.filter((outcome) => typeof outcome === "object")).toEqual([{ pkceVerifier: "verifier" }]);
    expect(outcomes).toContain("not-found");
  }
});

it.each(platforms)(
  "keeps what every tab adds at once, under the one key that they make at once, %s (R-43)",
  async (_, without) => {
    const names = ["a", "b", "c"] as const;
    const tabs = await openTabs(names, { name: newName(), loop: "off", without });
    await Promise.all(
      tabs.map((tab) =>
        tab.call(async ({ kernel }, name) => {
          for (let item = 0; item < 5; item++) {
            await kernel.secrets.put(`${name}${item}`, name);
            await kernel.runtime.updateAuthOAuthFlowSnapshot((current) => {
              const list: string[] = current ? JSON.parse(new TextDecoder().decode(current)) : [];
              return new TextEncoder().encode(JSON.stringify([...list, `${name}${item}`]));
            });
          }
        }, tab.name),
      ),
    );
    const wanted = names.flatMap((name) => [0, 1, 2, 3, 4].map((item) => `${name}${item}`));
    for (const tab of tabs) {
      const { list, secrets } = await tab.call(async ({ kernel }, items) => {
        const bytes = await kernel.runtime.loadAuthOAuthFlowSnapshot();
        return {
          list: JSON.parse(new TextDecoder().decode(bytes)) as string[],
          secrets: await Promise.all(items.map((item) => kernel.secrets.get(item))),
        };
      }, wanted);
      expect(list.sort()).toEqual(wanted);
      expect(secrets).toEqual(wanted.map((item) => item[0]));
    }
  },
);

it("has one tab poll for a device code, and another one as soon as that tab is gone (R-168)", async () => {
  const [a, b] = await openTabs(["a", "b"], { name: newName(), loop: "off" });
  await a.call(({ kernel }, flow) => kernel.auth.admitDevice(flow), device);
  await a.call(async ({ kernel }, flow) => void (await kernel.auth.pollDevice(flow)), device);
  const poll = () => b.call(({ kernel, codeOf }, flow) => codeOf(kernel.auth.pollDevice(flow)), device);
  expect(await poll()).toBe("conflict");
  await a.crash();
  await eventually(poll).toBe("resolved");
});
