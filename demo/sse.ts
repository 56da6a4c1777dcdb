// Server-sent events, as far as chat endpoints use them: the data of each event.

/** Takes a stream's text in pieces of any length. Returns the data of the events that are complete. */
export function eventStream(): (piece: string) => string[] {
  let rest = "";
  let data: string[] = [];
  return (piece) => {
    const complete: string[] = [];
    // A carriage return at the end may be the first half of a line break.
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) complete.push(data.join("\n"));
        data = [];
      } else if (line === "data") data.push("");
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    }
    return complete;
  };
}
