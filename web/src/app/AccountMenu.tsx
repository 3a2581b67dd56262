import { Menu, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import {
  IconCheck,
  IconChevronUp,
  IconDeviceDesktop,
  IconLogout,
  IconMoon,
  IconSun,
} from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useSession, useSignOut } from "@/api/session";
import { changeLanguage, LANGUAGES } from "@/i18n";
import classes from "./AccountMenu.module.css";

const SCHEMES = [
  ["light", IconSun],
  ["dark", IconMoon],
  ["auto", IconDeviceDesktop],
] as const;

const LANGUAGE_NAMES = { en: "English", "zh-CN": "简体中文" } as const;

/** Who is signed in, and how they like to see the product. */
export function AccountMenu() {
  const { t, i18n } = useTranslation();
  const session = useSession();
  const signOut = useSignOut();
  const { colorScheme, setColorScheme } = useMantineColorScheme();

  return (
    <Menu position="top-start" width={200} offset={4}>
      <Menu.Target>
        <UnstyledButton className={classes.account}>
          <span className={classes.who}>
            <span className={classes.name}>{session.name}</span>
            <span className={classes.role}>
              {session.tenant ? `${session.tenant.name} · ` : ""}
              {t(`role.${session.role}`)}
            </span>
          </span>
          <IconChevronUp size={14} aria-hidden />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{t("appearance")}</Menu.Label>
        {SCHEMES.map(([scheme, Icon]) => (
          <Menu.Item
            key={scheme}
            leftSection={<Icon size={15} />}
            rightSection={colorScheme === scheme ? <IconCheck size={14} /> : null}
            closeMenuOnClick={false}
            onClick={() => setColorScheme(scheme)}
          >
            {t(`scheme.${scheme}`)}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Label>{t("language")}</Menu.Label>
        {LANGUAGES.map((language) => (
          <Menu.Item
            key={language}
            lang={language}
            rightSection={i18n.language === language ? <IconCheck size={14} /> : null}
            onClick={() => void changeLanguage(language)}
          >
            {LANGUAGE_NAMES[language]}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={15} />} onClick={signOut}>
          {t("signOut")}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
