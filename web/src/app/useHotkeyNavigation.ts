import { useNavigate } from "@tanstack/react-router";
import { useEffect } from "react";
import { useNav } from "./nav";

const SEQUENCE_MS = 900;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

/** `g r` goes to Requests, `g u` to Upstreams …; `/` stands in the page's first filter. */
export function useHotkeyNavigation() {
  const navigate = useNavigate();
  const nav = useNav();
  useEffect(() => {
    let armedAt = 0;
    const onKey = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target)) return;
      if (event.key === "/") {
        const filter = document.querySelector<HTMLElement>("[data-filter]");
        if (filter) {
          event.preventDefault();
          filter.focus();
        }
        return;
      }
      if (event.key === "g") {
        armedAt = event.timeStamp;
        return;
      }
      if (event.timeStamp - armedAt > SEQUENCE_MS) return;
      armedAt = 0;
      const link = nav.flatMap(({ links }) => links).find(({ go }) => go === event.key);
      if (link) void navigate({ to: link.to });
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [navigate, nav]);
}
