import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../../../src/domain/time.js";
import { type InputSubmission, prepareSubmission } from "../../../../src/stores/session/inputs/submission.js";

describe("a prompt's type", () => {
  interface Options {
    model: string;
    temperature?: number;
  }

  it("takes fields of the app's own, and keeps the checks of the named ones (A-35)", () => {
    const options: Options = { model: "small" };
    const submission: InputSubmission = { inputType: "prompt", text: "hello", options, tags: ["a"], none: undefined };
    expect(prepareSubmission(submission, DEFAULT_LIMITS).persisted).toMatchObject({ options: { model: "small" }, tags: ["a"] });
    // @ts-expect-error A prompt has a text.
    const textless: InputSubmission = { inputType: "prompt", model: "small" };
    // @ts-expect-error The lane is a word of two.
    const laneless: InputSubmission = { inputType: "prompt", text: "x", handlingMode: "soon", model: "small" };
    // @ts-expect-error A key is a text.
    const keyless: InputSubmission = { inputType: "prompt", text: "x", idempotencyKey: 1, model: "small" };
    for (const wrong of [textless, laneless, keyless]) {
      expect(() => prepareSubmission(wrong, DEFAULT_LIMITS)).toThrow(expect.objectContaining({ code: "invalid" }));
    }
  });
});
