// What a person can do to this tab. Nothing here is staged: the tab really goes, really stops, really dies.

export const hangMs = 20_000;

/** Only an engine that is known to die of this is asked to. */
export const canCrash = "chrome" in globalThis || /Chrom(e|ium)\//.test(navigator.userAgent);

export function openAnother(): void {
  // Without an opener the new tab gets a process of its own, so what happens to this one does not happen to it.
  window.open(location.pathname, "_blank", "noopener");
}

export function closeTab(): void {
  // A page may close its tab only when there is nothing to go back to. Leaving it ends everything in it just the same.
  if (history.length === 1) window.close();
  setTimeout(() => location.replace("?closed"), 300);
}

/** Keeps this tab's only thread busy, so that nothing here can answer, renew or paint. */
export function hang(): void {
  const end = Date.now() + hangMs;
  while (Date.now() < end);
}

/** Asks for an array longer than the engine can hold, at which Chromium gives the tab up. */
export function crash(): void {
  "x".repeat(2 ** 27 + 9).split("");
}
