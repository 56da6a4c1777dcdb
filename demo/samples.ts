import birds from "./samples/birds-of-the-rock.md?raw";
import keepers from "./samples/keepers.json?raw";
import handbook from "./samples/keepers-handbook.md?raw";
import lights from "./samples/lights-of-the-sound.csv?raw";
import log from "./samples/watch-log.txt?raw";

/** The archive of an invented lighthouse: one file of each kind, and one more. */
export const samples: readonly { readonly fileName: string; readonly text: string }[] = [
  { fileName: "keepers-handbook.md", text: handbook },
  { fileName: "watch-log.txt", text: log },
  { fileName: "birds-of-the-rock.md", text: birds },
  { fileName: "lights-of-the-sound.csv", text: lights },
  { fileName: "keepers.json", text: keepers },
];

export const questions: readonly string[] = [
  "Who tuned the fog horn?",
  "How much oil on a long December night?",
  "Which light burned down?",
  "Where do the storm petrels live?",
];

/** First questions for a conversation. More than one passage answers each. */
export const starters: readonly string[] = ["When was the lens turned by hand?", "When was Keeper Moen ill?"];
