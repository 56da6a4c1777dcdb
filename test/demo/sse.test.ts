import { describe, expect, it } from "vitest";
import { eventStream } from "../../demo/sse.js";

const all = (pieces: string[]) => {
  const read = eventStream();
  return pieces.flatMap(read);
};

describe("server-sent events", () => {
  const stream = ": a comment\ndata: one\n\nevent: x\nid: 7\ndata:two\ndata:  three\n\ndata\n\n\n\ndata: never ended\n";

  it("gives the data of each event that is complete", () => {
    expect(all([stream])).toEqual(["one", "two\n three", ""]);
  });

  it("reads the same however the stream is cut, with each of the three line ends", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
      const text = `${stream.replaceAll("\n", end)}${end}more`;
      const whole = all([text]);
      expect(whole).toEqual(["one", "two\n three", "", "never ended"]);
      for (let at = 0; at <= text.length; at++) expect(all([text.slice(0, at), text.slice(at)])).toEqual(whole);
      expect(all([...text])).toEqual(whole);
    }
  });
});
