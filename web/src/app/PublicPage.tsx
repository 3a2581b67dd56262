import { Group, UnstyledButton } from "@mantine/core";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { changeLanguage } from "@/i18n";
import { Brand } from "./Brand";
import classes from "./PublicPage.module.css";

/** The frame of the two pages seen before anybody is signed in. */
export function PublicPage({ children }: { children: ReactNode }) {
  const { i18n } = useTranslation();
  const other = i18n.language === "en" ? "zh-CN" : "en";
  return (
    <div className={classes.page}>
      <Group justify="space-between" className={classes.top}>
        <Brand size={24} />
        <UnstyledButton
          className={classes.language}
          lang={other}
          onClick={() => void changeLanguage(other)}
        >
          {other === "en" ? "English" : "简体中文"}
        </UnstyledButton>
      </Group>
      <main className={classes.panel}>{children}</main>
    </div>
  );
}
