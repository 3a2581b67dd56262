import { Stack, Text, Title } from "@mantine/core";
import type { Icon } from "@tabler/icons-react";
import type { ReactNode } from "react";
import classes from "./EmptyState.module.css";

/** What will be here, the one action that fills it, and the snippet. */
export function EmptyState({
  icon: Picture,
  title,
  children,
  action,
  snippet,
}: {
  icon: Icon;
  title: string;
  children: ReactNode;
  action?: ReactNode;
  snippet?: ReactNode;
}) {
  return (
    <div className={classes.frame}>
      <Stack gap="xs" align="center" maw={520} mx="auto">
        <Picture size={28} stroke={1.25} className={classes.symbol} aria-hidden />
        <Title order={2} fz="lg" ta="center">
          {title}
        </Title>
        <Text c="dimmed" ta="center" fz="md">
          {children}
        </Text>
        {action ? <div className={classes.action}>{action}</div> : null}
      </Stack>
      {snippet ? <div className={classes.snippet}>{snippet}</div> : null}
    </div>
  );
}
