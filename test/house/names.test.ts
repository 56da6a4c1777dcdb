import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** These names mean the same in each of their files. */
const MAY_STAND_TWICE: Record<string, string> = {
  PAGE: "how many rows are read at once",
  VERSION: "the version of a format",
  TABLE: "a state machine",
};

it("a name at file level stands in one file of src, or means the same in all of them", () => {
  const told = execFileSync(process.execPath, ["scripts/house.mjs"], { cwd: root, encoding: "utf8" });
  const twice = told.slice(told.indexOf("\nNames at file level in more than one file:")).matchAll(/^- (.*): /gm);
  expect([...twice].map(([, name]) => name).filter((name = "") => !(name in MAY_STAND_TWICE))).toEqual([]);
});
