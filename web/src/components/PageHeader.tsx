import { Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import classes from "./PageHeader.module.css";

/** What this page is, what it is for, and the one thing to do here. */
export function PageHeader({
  title,
  purpose,
  action,
  above,
}: {
  title: string;
  purpose?: ReactNode;
  action?: ReactNode;
  above?: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Tallygate`;
  }, [title]);
  return (
    <header className={classes.header}>
      <div className={classes.words}>
        {above}
        <Title order={1}>{title}</Title>
        {purpose ? <p className={classes.purpose}>{purpose}</p> : null}
      </div>
      {action ? <div className={classes.action}>{action}</div> : null}
    </header>
  );
}
