self.onmessage = ({ data: { id, ms } }: MessageEvent<{ id: number; ms: number }>) => {
  setTimeout(() => self.postMessage(id), ms);
};
