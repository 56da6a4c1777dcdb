import { expect, it } from "vitest";
import { simulate } from "../../src/simulation.js";

it("worlds are simulated in a browser, too, and each is the same one twice", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const report = await simulate({ seed, steps: 60 });
    expect(report.failure).toBeUndefined();
    expect(report.commits).toBeGreaterThan(0);
    expect((await simulate({ seed, steps: 60 })).history.join("\n")).toBe(report.history.join("\n"));
  }
}, 60_000);
