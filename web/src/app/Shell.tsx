import { AppShell, Burger, Group, ScrollArea, VisuallyHidden } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { useOwnTenant } from "@/api/session";
import { layout } from "@/theme/tokens";
import { AccountMenu } from "./AccountMenu";
import { Brand } from "./Brand";
import { useNav } from "./nav";
import classes from "./Shell.module.css";
import { useHotkeyNavigation } from "./useHotkeyNavigation";

export function Shell() {
  const { t } = useTranslation();
  const nav = useNav();
  // To the people of a tenant it is their own, not a list of customers.
  const own = useOwnTenant() ? ("own" as const) : ("all" as const);
  const [opened, { toggle, close }] = useDisclosure(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu closes whenever the page changes
  useEffect(close, [path]);
  useHotkeyNavigation();

  return (
    <AppShell
      header={{ height: { base: layout.headerHeight, sm: 0 } }}
      navbar={{ width: layout.navWidth, breakpoint: "sm", collapsed: { mobile: !opened } }}
      transitionDuration={160}
    >
      <a className={classes.skip} href="#main">
        {t("skip")}
      </a>
      <AppShell.Header hiddenFrom="sm" className={classes.header}>
        <Group h="100%" px="md" gap="sm">
          <Burger opened={opened} onClick={toggle} size="sm" aria-label={t("menu")} />
          <Brand />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className={classes.nav}>
        <div className={classes.brand}>
          <Brand />
        </div>
        <ScrollArea className={classes.links} type="never">
          <nav aria-label={t("menu")}>
            {nav.map(({ group, links }) => (
              <div key={group} className={classes.group}>
                <div className={classes.groupName}>
                  {t(
                    group === "customers" || group === "serve"
                      ? `nav.${group}.${own}`
                      : `nav.${group}`,
                  )}
                </div>
                {links.map(({ to, key, icon: Icon }) => (
                  <Link
                    key={to}
                    to={to}
                    className={classes.link}
                    activeProps={{ "aria-current": "page" }}
                    activeOptions={{ exact: to === "/", includeSearch: false }}
                  >
                    <Icon size={17} stroke={1.6} aria-hidden />
                    {t(key === "tenants" ? `nav.tenants.${own}` : `nav.${key}`)}
                  </Link>
                ))}
              </div>
            ))}
          </nav>
        </ScrollArea>
        <AccountMenu />
      </AppShell.Navbar>
      <AppShell.Main className={classes.main} id="main" tabIndex={-1}>
        <VisuallyHidden aria-live="polite" id="tg-live" />
        <div className={classes.content}>
          <Outlet />
        </div>
      </AppShell.Main>
    </AppShell>
  );
}
