import { useCallback, useEffect, useRef, useState } from "react";
import { copyText } from "./copy";

const SHOWN_MS = 1_600;

/** `[copied, copy]`; `copied` is true for a moment after a copy that worked. */
export function useCopy(): [boolean, (text: string) => void] {
  const [copied, setCopied] = useState(false);
  const timer = useRef<number | undefined>(undefined);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const copy = useCallback((text: string) => {
    void copyText(text).then((done) => {
      if (!done) return;
      setCopied(true);
      window.clearTimeout(timer.current);
      timer.current = window.setTimeout(() => setCopied(false), SHOWN_MS);
    });
  }, []);
  return [copied, copy];
}
