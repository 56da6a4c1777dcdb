// Ways to harm this tab. None of them is staged: the tab really closes, hangs or crashes.

export const hangMs = 20_000;

/** Only engines that are known to crash by this. */
export const canCrash = "chrome" in globalThis || /Chrom(e|ium)\//.test(navigator.userAgent);

export function openAnother(): void {
  // A tab without an opener gets its own process, so a crash of this tab does not reach it.
  window.open(location.pathname, "_blank", "noopener");
}

export function closeTab(): void {
  // A page may close its tab only when its history is empty. Leaving the page ends everything in it as well.
  if (history.length === 1) window.close();
  setTimeout(() => location.replace("?closed"), 300);
}

/** Blocks this tab's only thread: nothing can answer, renew or paint. */
export function hang(): void {
  const end = Date.now() + hangMs;
  while (Date.now() < end);
}

/** Asks for an array longer than the engine can hold. Chromium then ends the tab. */
export function crash(): void {
  "x".repeat(2 ** 27 + 9).split("");
}
