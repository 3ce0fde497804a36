import type { StaticFile } from '../protocol/packed-text.ts';

/** Anyone can send any Host header, so that pages are kept for this many origins only. */
const ORIGINS_LIMIT = 8;

/** Renders a page once for each origin, such as `https://dl.example.org`. */
export function byOrigin(render: (origin: string) => StaticFile): (origin: string) => StaticFile {
  const rendered = new Map<string, StaticFile>();
  return (origin) => {
    const made = rendered.get(origin) ?? render(origin);
    if (rendered.size >= ORIGINS_LIMIT) rendered.clear();
    rendered.set(origin, made);
    return made;
  };
}
