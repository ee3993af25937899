/** The event stream: fetched, since a browser's own EventSource cannot bear a token; resumed by Last-Event-ID. */

import { headers, RefusedError } from "./asking";

export type Handler = (name: string, data: unknown) => void;

/** Without a byte for this long the stream is dead, whatever the socket says: the server beats every two seconds. */
const SILENT_MS = 7_000;

export class Live {
  private last: string | null = null;
  private abort = new AbortController();
  private path = "";

  constructor(
    private readonly onEvent: Handler,
    private readonly onState: (state: "live" | "lost" | "refused", why: string) => void,
  ) {}

  /** Listen to `path` from now on instead of what was listened to. */
  listen(path: string): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.last = null;
    this.path = path;
    void this.keep(this.abort.signal);
  }

  private async keep(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.follow(signal, () => (failures = 0));
        if (!signal.aborted) this.onState("lost", "the server ended the stream");
      } catch (error) {
        if (signal.aborted) return;
        const why = error instanceof Error ? error.message : String(error);
        this.onState(error instanceof RefusedError ? "refused" : "lost", why);
      }
      failures += 1;
      await new Promise((done) => setTimeout(done, Math.min(10_000, 500 * 2 ** Math.min(failures, 5)) * (0.5 + Math.random() / 2)));
    }
  }

  private async follow(signal: AbortSignal, onOpen: () => void): Promise<void> {
    const attempt = new AbortController();
    const stop = (): void => attempt.abort();
    signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, SILENT_MS);
    try {
      const resume: Record<string, string> = this.last ? { "Last-Event-ID": this.last } : {};
      const answer = await fetch(this.path, { headers: { ...headers(), ...resume, Accept: "text/event-stream" }, signal: attempt.signal });
      if (answer.status === 401 || answer.status === 403) throw new RefusedError("the stream needs the token");
      if (!answer.ok || !answer.body) throw new Error(`the stream answered ${answer.status}`);
      onOpen();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(stop, SILENT_MS);
        this.onState("live", "");
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) this.take(block);
      }
    } catch (error) {
      if (attempt.signal.aborted && !signal.aborted) throw new Error("the stream fell silent");
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      attempt.abort();
    }
  }

  private take(block: string): void {
    const fields = new Map<string, string>();
    for (const line of block.split("\n")) {
      const at = line.indexOf(": ");
      if (at > 0) fields.set(line.slice(0, at), line.slice(at + 2));
    }
    const id = fields.get("id");
    const name = fields.get("event");
    if (id) this.last = id;
    if (name) this.onEvent(name, JSON.parse(fields.get("data") ?? "null"));
  }
}
