import { Drawer, Group } from "@mantine/core";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { layout } from "@/theme/tokens";
import classes from "./DetailDrawer.module.css";

/** For looking: the list stays behind it, Esc closes, the address says what is open. */
export function DetailDrawer({
  opened,
  title,
  subtitle,
  actions,
  onClose,
  children,
}: {
  opened: boolean;
  title: ReactNode;
  subtitle?: ReactNode;
  actions?: ReactNode;
  onClose: () => void;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  return (
    <Drawer.Root opened={opened} onClose={onClose} size={layout.drawerWidth} position="right">
      <Drawer.Overlay backgroundOpacity={0.25} />
      <Drawer.Content p={0} className={classes.content}>
        <Drawer.Header className={classes.header}>
          <div className={classes.words}>
            <Drawer.Title className={classes.title}>{title}</Drawer.Title>
            {subtitle ? <div className={classes.subtitle}>{subtitle}</div> : null}
          </div>
          <Group gap="xs" wrap="nowrap">
            {actions}
            <Drawer.CloseButton data-autofocus aria-label={t("close")} />
          </Group>
        </Drawer.Header>
        <Drawer.Body className={classes.body}>{children}</Drawer.Body>
      </Drawer.Content>
    </Drawer.Root>
  );
}

export function DrawerSection({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={classes.section}>
      <h3 className={classes.sectionTitle}>{title}</h3>
      {children}
    </section>
  );
}

/** Label and value, one a line. */
export function Facts({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className={classes.facts}>
      {rows.map(([label, value]) => (
        <div key={label} className={classes.fact}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
