import type { CommandIo } from './command.ts';

/**
 * What a terminal would obey instead of showing it: control characters but for line ends and tabs, and those that turn the
 * direction of text.
 */
const obeyed = /[^\P{Cc}\n\t]|[\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/gu;

/** A text that a terminal shows whole; names of objects and rules may hold anything. In JSON it means the same. */
export function printable(text: string): string {
  return text.replace(obeyed, (each) => {
    const code = each.charCodeAt(0).toString(16).padStart(4, '0');
    return `\\u${code}`;
  });
}

/** Prints nothing but what is {@link printable}, other than on the screen. */
export function printableIo(io: CommandIo): CommandIo {
  return {
    ...io,
    screen: io.stdout,
    stdout: (text) => io.stdout(printable(text)),
    stderr: (text) => io.stderr(printable(text)),
  };
}
