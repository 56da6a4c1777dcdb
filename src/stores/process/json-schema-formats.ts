import { format } from "@cfworker/json-schema";

/** The library's formats, except `url`: its pattern backtracks without end. The others take time in proportion to the text. */
export const FORMATS: Readonly<Record<string, (text: string) => boolean>> = { ...format, url: isUrl };

const SCHEME = /^(?:https?|ftp):\/\//i;
const PUBLIC_IPV4 =
  /^(?!10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.)(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4])$/;
const LABEL = /^[a-z\u{a1}-\u{ffff}0-9]+(?:-[a-z\u{a1}-\u{ffff}0-9]+)*$/iu;
const TOP = /^[a-z\u{a1}-\u{ffff}]{2,}$/iu;
/** A host name that is followed by a port, a path or the end. */
const PLACE = /([^/:@]*)(?::\d{2,5})?(?:\/|$)/y;

/** `http`, `https` or `ftp`, then optional user information, a public host, an optional port and path. */
function isUrl(text: string): boolean {
  const scheme = SCHEME.exec(text)?.[0].length;
  if (scheme === undefined || /\s/.test(text)) return false;
  // User information before an @ may be anything, even another @.
  for (let at = scheme; at > 0; at = text.indexOf("@", Math.max(at, scheme + 1)) + 1) {
    PLACE.lastIndex = at;
    const host = PLACE.exec(text)?.[1];
    if (host !== undefined && isHost(host)) return true;
  }
  return false;
}

function isHost(host: string): boolean {
  if (PUBLIC_IPV4.test(host)) return true;
  const labels = host.split(".");
  return labels.length > 1 && TOP.test(labels.pop() as string) && labels.every((label) => LABEL.test(label));
}
