const steps: readonly (readonly [unit: string, seconds: number])[] = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
];

/** How long something is ago, in one or two units: `3 s`, `2 m 5 s`, `4 d 1 h`. */
export function ageText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const first = steps.findIndex(([, size]) => whole >= size);
  if (first === -1) return '0 s';
  const parts: string[] = [];
  let left = whole;
  for (const [unit, size] of steps.slice(first, first + 2)) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.join(' ');
}

/** The age of a moment, both in ISO 8601. */
export function agoText(then: string, now: string): string {
  return `${ageText((Date.parse(now) - Date.parse(then)) / 1000)} ago`;
}
