import { isJsonObject, type JsonObject } from './json.ts';

/** Reads a JSON object that contains one list of objects, chunk by chunk, without keeping the list in memory. */
export interface ElementReader {
  /** @throws Error if an element is malformed or too large */
  push(chunk: Uint8Array): void;
  /**
   * Ends the text.
   *
   * @param list the name of the list
   * @returns the object with an empty list
   * @throws Error if the text is malformed, or has another list
   */
  end(list: string): JsonObject;
}

/** Maximum bytes of one element, and of the text around the list. */
const TEXT_MAX = 2 ** 20;
const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [LIST, LIST_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d];
/** The number of open brackets within the list. */
const IN_LIST = 2;
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Creates a reader that parses one element at a time. Parsing the whole text at once would block the event loop, and
 * take several times the size of the text in memory.
 *
 * @param onElement called with each element; an error that it throws ends the reading
 */
export function createElementReader(onElement: (element: JsonObject) => void): ElementReader {
  /** The element that is not complete, and the text around the list. */
  const element = createText();
  const around = createText();
  let [depth, lists] = [0, 0];
  let [isText, isEscaped] = [false, false];

  /** Follows a byte. @returns true after the last byte of an element */
  const follow = (byte: number): boolean => {
    if (isText) {
      if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else if (byte === QUOTE) isText = false;
      return false;
    }
    if (byte === QUOTE) isText = true;
    else if (byte === LIST || byte === OBJECT) {
      if (byte === LIST && depth === 1) lists += 1;
      depth += 1;
    } else if (byte === LIST_END || byte === OBJECT_END) {
      depth -= 1;
      return byte === OBJECT_END && depth === IN_LIST;
    }
    return false;
  };

  return {
    push(chunk) {
      let start = 0;
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at] ?? 0;
        const isBetween = depth === IN_LIST && !isText && (byte === COMMA || byte === OBJECT);
        if (isBetween) {
          around.add(chunk.subarray(start, at));
          start = byte === COMMA ? at + 1 : at;
        }
        if (!follow(byte)) continue;
        element.add(chunk.subarray(start, at + 1));
        start = at + 1;
        onElement(objectOf(element.take()));
      }
      (depth > IN_LIST ? element : around).add(chunk.subarray(start));
    },
    end(list) {
      const found = objectOf(around.take());
      const elements = found[list];
      if (lists !== 1 || !Array.isArray(elements) || elements.length > 0) throw new Error('not one list');
      return found;
    },
  };
}

function createText() {
  let parts: Uint8Array[] = [];
  let length = 0;
  return {
    add(bytes: Uint8Array): void {
      if (bytes.length === 0) return;
      length += bytes.length;
      if (length > TEXT_MAX) throw new Error('too long');
      // The chunk may be reused.
      parts.push(Buffer.from(bytes));
    },
    take(): string {
      const [only = new Uint8Array()] = parts;
      const bytes = parts.length === 1 ? only : Buffer.concat(parts);
      parts = [];
      length = 0;
      return decoder.decode(bytes);
    },
  };
}

function objectOf(text: string): JsonObject {
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) throw new Error('not an object');
  return value;
}
