import type { Goodbyes } from "../ports/notices.js";

/** As many as may be asked for: those of the last moments. */
const MOST_KEPT = 16;

/** Nothing outside of pages, and where there is no localStorage to be had. */
export function storageGoodbyes(databaseId: string): Goodbyes | undefined {
  if (typeof window === "undefined" || !hasLocalStorage()) return undefined;
  const key = `holdfast:${databaseId}:goodbyes`;
  const read = () => idsIn(attempt(() => localStorage.getItem(key)));
  return {
    say(bootId) {
      try {
        localStorage.setItem(key, JSON.stringify([...read(), bootId].slice(-MOST_KEPT)));
      } catch {
        // Full: then the others count an attempt more than they had to.
      }
    },
    said: read,
    hear(listener) {
      const onStorage = (event: StorageEvent) => {
        if (event.key !== key) return;
        const before = idsIn(event.oldValue);
        for (const bootId of idsIn(event.newValue)) if (!before.includes(bootId)) listener(bootId);
      };
      window.addEventListener("storage", onStorage);
      return () => window.removeEventListener("storage", onStorage);
    },
  };
}

/** Anybody of the origin can write there. */
function idsIn(text: string | null): string[] {
  try {
    const ids: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

function attempt(read: () => string | null): string | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** In a sandboxed frame the look alone throws. */
function hasLocalStorage(): boolean {
  try {
    return typeof localStorage !== "undefined" && localStorage !== null;
  } catch {
    return false;
  }
}
