import type { FarewellNotes } from "../ports/notices.js";

/** A reader asks only for the farewells of the last moments. */
const MOST_KEPT = 16;

/** `undefined` outside of pages, and where there is no localStorage. */
export function farewellNotes(databaseId: string): FarewellNotes | undefined {
  if (typeof window === "undefined" || !hasLocalStorage()) return undefined;
  // Earlier versions use this key.
  const key = `holdfast:${databaseId}:goodbyes`;
  const read = () => idsIn(attempt(() => localStorage.getItem(key)));
  return {
    say(bootId) {
      try {
        localStorage.setItem(key, JSON.stringify([...read(), bootId].slice(-MOST_KEPT)));
      } catch {
        // The storage is full: the other tabs count one attempt too many for what this page ran.
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
    burn() {
      try {
        localStorage.removeItem(key);
      } catch {
        // Blocked for this page: nothing was written either.
      }
    },
  };
}

/** Any script of the origin can write this key. */
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

/** Reading the global throws in a sandboxed frame. */
function hasLocalStorage(): boolean {
  try {
    return typeof localStorage !== "undefined" && localStorage !== null;
  } catch {
    return false;
  }
}
