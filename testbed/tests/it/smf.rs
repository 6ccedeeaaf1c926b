//! svccfg, svcadm, svcs, svcprop and the restarter, with a toy service.

use std::fs;
use std::path::Path;

use crate::support::{sandbox, skipped};

/// The toy service: a daemon that sleeps; properties control how its start method behaves.
const MANIFEST: &str = r#"<?xml version="1.0"?>
<!DOCTYPE service_bundle SYSTEM "/usr/share/lib/xml/dtd/service_bundle.dtd.1">
<service_bundle type="manifest" name="TOYsvc:toy">
  <service name="network/toy" type="service" version="1">
    <create_default_instance enabled="false"/>
    <dependency name="network" grouping="require_all" restart_on="error" type="service">
      <service_fmri value="svc:/milestone/network:default"/>
    </dependency>
    <dependency name="names" grouping="optional_all" restart_on="none" type="service">
      <service_fmri value="svc:/milestone/name-services"/>
      <service_fmri value="svc:/network/absent"/>
    </dependency>
    <exec_method type="method" name="start" exec="/lib/svc/method/toy %m '%i' %{toy/args:}" timeout_seconds="60">
      <method_context working_directory="/tmp">
        <method_credential user="daemon" group="daemon" privileges="basic,net_privaddr"/>
        <method_environment><envvar name="TOYENV" value="set"/></method_environment>
      </method_context>
    </exec_method>
    <exec_method type="method" name="stop" exec=":kill" timeout_seconds="60"/>
    <exec_method type="method" name="refresh" exec="/lib/svc/method/toy %m" timeout_seconds="60"/>
    <property_group name="toy" type="application">
      <propval name="mode" type="astring" value="run"/>
      <property name="args" type="astring"><astring_list><value_node value="a b"/><value_node value="c"/></astring_list></property>
    </property_group>
    <stability value="Unstable"/>
    <template>
      <common_name><loctext xml:lang="C">Toy service</loctext></common_name>
      <documentation><manpage title="toy" section="1" manpath="/usr/share/man"/></documentation>
      <pg_pattern name="toy" type="application" target="instance" required="true">
        <prop_pattern name="mode" type="astring" required="true">
          <description><loctext xml:lang="C">How to start.</loctext></description>
          <cardinality min="1" max="1"/>
        </prop_pattern>
        <prop_pattern name="port" type="count">
          <constraints><range min="1" max="65535"/></constraints>
        </prop_pattern>
      </pg_pattern>
    </template>
  </service>
</service_bundle>
"#;

const METHOD: &str = r#"#!/bin/sh
. /lib/svc/share/smf_include.sh
smf_present || exit $SMF_EXIT_ERR_NOSMF
mode=$(svcprop -p toy/mode "$SMF_FMRI")
echo "method $* mode=$mode fmri=$SMF_FMRI method=$SMF_METHOD user=$(id -un) env=$TOYENV dir=$(pwd) $(grep CapEff /proc/self/status)"
case $1:$mode in
refresh:hup) smf_kill_contract "$(svcprop -p restarter/contract "$SMF_FMRI")" HUP ;;
refresh:*) exit 0 ;;
*:config) exit $SMF_EXIT_ERR_CONFIG ;;
*:fail) exit 1 ;;
*:hang) exec sleep 1000 ;;
*:quick) ;;
*:hup) smf_clear_env; sh -c 'trap "echo got HUP >/tmp/hup" HUP; while :; do sleep 1000 & wait $!; done' & ;;
*:stubborn) smf_clear_env; (trap '' TERM; sleep 1001 & sleep 1000 &) ;;
*) smf_clear_env; sleep 1000 & ;;
esac
"#;

/// `until_is COMMAND WANTED` polls until the restarter has acted by itself; `pid` is the first process of an instance.
const TOOLS: &str = r#"
cp "$1/toy" /lib/svc/method/toy && chmod 755 /lib/svc/method/toy
log=/var/svc/log/network-toy:default.log
pid() { svcs -Hp "${1-toy}" | awk 'NR == 2 { print $2 }'; }
until_is() { n=0; while [ "$(eval "$1")" != "$2" ]; do n=$((n + 1)); [ $n -lt 1000 ] || is "$(eval "$1")" "$2"; done; }
is_new() { new=$(pid); [ -n "$new" ] && [ "$new" != "$old" ] && state; }
state() { svcs -Ho state "${1-toy}"; }
"#;

fn toy(script: &str) {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("toy.xml"), MANIFEST).unwrap();
    fs::write(dir.path().join("toy"), METHOD).unwrap();
    in_sandbox(dir.path(), script);
}

fn in_sandbox(dir: &Path, script: &str) {
    sandbox(dir, &format!("mkdir -p /lib/svc/method\n{TOOLS}\n{script}"));
}

#[test]
fn imports_enables_and_disables() {
    toy(r#"
    is "$(svccfg inventory "$1/toy.xml" | tr '\n' ' ')" 'svc:/network/toy:default svc:/network/toy '
    svccfg validate "$1/toy.xml"
    svccfg import "$1/toy.xml"
    is "$(state)" disabled
    has "$(svcs -x toy)" 'Reason: Disabled by an administrator.'
    status 1 svcs nothing
    svcadm enable -s toy
    is "$(state)" online
    is "$(svcprop -p restarter/state toy)" online
    is "$(svcprop -c -p general/enabled network/toy:default)" true
    is "$(svcprop -p toy/args toy)" 'a\ b c'
    has "$(cat $log)" 'Executing start method ("/lib/svc/method/toy start '"'default'"' a\ b:c").'
    has "$(cat $log)" 'method start default a b:c mode=run fmri=svc:/network/toy:default method=start user=daemon env=set dir=/tmp CapEff:	0000000000000400'
    has "$(cat $log)" 'Method "start" exited with status 0.'
    [ -d "/proc/$(pid)" ]
    has "$(svcs -l toy)" 'dependency   require_all/error svc:/milestone/network:default (online)'
    has "$(svcs -l toy)" '(absent)'
    has "$(svcs -d toy)" 'svc:/milestone/network:default'
    has "$(svcs -D milestone/network)" 'svc:/network/toy:default'
    is "$(svcs -x)" ''
    has "$(svcs -xv toy)" 'See: man -M /usr/share/man -s 1 toy'
    status 1 svccfg delete toy:default
    svcadm disable -s toy
    is "$(state)" disabled
    is "$(pid)" ''
    has "$(tail -1 $log)" 'Disabled. ]'
    # Until the next boot only.
    svcadm enable -st toy
    has "$(svcs -l toy)" 'enabled      true (temporary)'
    is "$(svcprop -c -p general/enabled toy)" false
    svcadm disable -s toy
    svccfg delete network/toy
    status 1 svcs toy
    # What only the restarter and root may.
    setpriv --reuid=daemon --regid=daemon --clear-groups svcs milestone/network >/dev/null
    status 1 setpriv --reuid=daemon --regid=daemon --clear-groups svcadm disable milestone/network
    has "$out" 'Permission denied.'
    status 2 svcadm enable -x toy
    "#);
}

#[test]
fn restarts_what_dies_and_gives_up_on_what_dies_at_once() {
    toy(r#"
    svccfg import "$1/toy.xml"
    svcadm enable -s toy
    old=$(pid)
    kill -9 "$old"
    until_is is_new online
    has "$(cat $log)" 'Stopping because process received fatal signal from outside the service.'
    old=$(pid)
    svcadm restart toy
    until_is is_new online
    has "$(cat $log)" 'Stopping because service restarting.'
    # Refresh by a signal to the contract.
    svccfg -s toy setprop toy/mode = hup
    svcadm refresh toy
    old=$(pid)
    svcadm restart toy
    until_is is_new online
    svcadm refresh toy
    until_is 'cat /tmp/hup 2>/dev/null || :' 'got HUP'
    is "$(state)" online
    # A start method that leaves nothing running: all processes exit at once, again and again.
    svccfg -s toy setprop toy/mode = quick
    svcadm refresh toy
    svcadm restart toy
    until_is state maintenance
    has "$(cat $log)" 'Stopping because all processes in service exited.'
    has "$(svcs -x)" 'Reason: Restarting too quickly.'
    svccfg -s toy setprop toy/mode = run
    svcadm refresh toy
    svcadm clear toy
    until_is state online
    status 1 svcadm clear toy
    has "$out" 'is not in a maintenance or degraded state.'
    svcadm mark -I maintenance toy
    until_is state maintenance
    has "$(svcs -x toy)" 'Maintenance requested by an administrator.'
    svcadm clear toy
    until_is state online
    # The restarter knows no way into the state degraded, and svcadm does not learn of it.
    svcadm mark -I degraded toy
    is "$(state)" online
    has "$(cat /var/svc/log/svc.startd.log)" 'ADMIN_DEGRADED command (for svc:/network/toy:default) unimplemented.'
    svcadm disable -s toy
    "#);
}

#[test]
fn start_methods_that_fail() {
    toy(r#"
    svccfg import "$1/toy.xml"
    svccfg -s toy:default setprop toy/mode = config
    svcadm refresh toy
    status 3 svcadm enable -s toy
    is "$(state)" maintenance
    has "$(svcs -xv)" 'Reason: Start method exited with $SMF_EXIT_ERR_CONFIG.'
    has "$(svcs -xv)" 'See: /var/svc/log/network-toy:default.log'
    has "$(svcs -xv)" 'Impact: This service is not running.'
    is "$(grep -c Executing $log)" 1
    svccfg -s toy:default setprop toy/mode = fail
    svcadm refresh toy
    svcadm clear toy
    status 3 svcadm enable -s toy
    is "$(grep -c 'exited with status 1\.' $log)" 3
    has "$(svcs -x)" 'Start method failed repeatedly, last exited with status 1.'
    # Longer than its two seconds, three times.
    svccfg -s toy setprop start/timeout_seconds = 2
    svccfg -s toy:default setprop toy/mode = hang
    svcadm refresh toy
    svcadm clear toy
    status 3 svcadm enable -s toy
    has "$(cat $log)" 'Method or service exit timed out.  Killing contract'
    has "$(svcs -x)" 'last died on SIGKILL (9).'
    is "$(pid)" ''
    svcadm disable -s toy
    # Deaf to SIGTERM: killed when the stop method's time is over.
    svccfg -s toy setprop start/timeout_seconds = 60
    svccfg -s toy setprop stop/timeout_seconds = 2
    svccfg -s toy:default setprop toy/mode = stubborn
    svcadm refresh toy
    svcadm enable -s toy
    svcadm disable -s toy
    is "$(pid)" ''
    # A dependency that is missing.
    svcadm disable -s milestone/network
    status 4 svcadm enable -s toy
    has "$(svcs -x toy)" 'Service svc:/milestone/network:default is disabled.'
    svcadm enable -s milestone/network
    until_is state online
    "#);
}

#[test]
fn properties_of_instances_and_snapshots() {
    toy(r#"
    svccfg import "$1/toy.xml"
    svccfg -s network/toy add other
    is "$(state toy:other)" -
    # A group and a type that the template knows; types it does not know have to be given.
    svccfg -s toy:other setprop toy/port = 80
    status 1 svccfg -s toy:other setprop toy/new = 1
    has "$out" 'Type required'
    status 1 svccfg -s toy:other setprop toy/port = astring: x
    status 1 svccfg -s toy:other setprop toy/port = count: x
    status 1 svccfg -s toy:other setprop none/new = astring: 1
    has "$out" 'No such property group'
    svccfg -s toy:other addpg mine application
    svccfg -s toy:other setprop mine/list = astring: '("one two" "q\"\\" three)'
    svccfg -s toy:other addpropvalue mine/list four
    is "$(svcprop -p mine/list toy:other)" 'one\ two q\"\\ three four'
    has "$(svccfg -s toy:other listprop mine/list)" 'mine/list  astring  "one two" "q\"\\" three four'
    svccfg -s toy:other delpropvalue mine/list 'one*'
    svccfg -s toy:other delprop mine/list
    status 1 svcprop -q -p mine/list toy:other
    svcprop -q -p mine toy:other
    # What the service has, the instance has too; -C shows only its own.
    svcadm enable -s toy:other
    is "$(svcprop -p toy/mode toy:other)" run
    status 1 svcprop -C -p toy/mode toy:other
    # A change is seen after refresh, which runs the method too.
    svccfg -s toy:other setprop toy/port = 81
    is "$(svcprop -p toy/port toy:other)" 80
    is "$(svcprop -c -p toy/port toy:other)" 81
    svcadm refresh toy:other
    is "$(svcprop -p toy/port toy:other)" 81
    until_is 'grep -c "Method .refresh. exited with status 0" /var/svc/log/network-toy:other.log || :' 1
    status 1 svcadm enable toy
    has "$out" 'matches multiple instances'
    svcadm enable -s 'network/toy:*'
    [ "$(svcs -Ho state toy | sort -u)" = online ]
    # Templates.
    svccfg -s toy:other setprop toy/port = 0
    svccfg -s toy:other refresh
    status 1 svccfg -s toy:other validate
    has "$out" 'out of range'
    printf 'select toy:other\nsetprop toy/port = 82\nrefresh\nexit\n' >/tmp/commands
    svccfg -f /tmp/commands
    is "$(svcprop -p toy/port toy:other)" 82
    has "$(svcprop -p toy toy:other)" 'toy/port count 82'
    has "$(svcprop -f -p toy/port toy:other)" 'svc:/network/toy:other/:properties/toy/port count 82'
    has "$(svccfg -s toy:other describe toy/mode)" 'How to start.'
    # Without -t only what is set.
    svccfg -s toy:other delprop toy/port
    hasnt "$(svccfg -s toy:other describe toy)" toy/port
    has "$(svccfg -s toy:other describe -t toy)" toy/port
    hasnt "$(svccfg -s toy:other describe -t toy)" toy/args
    # An upgrade keeps what was changed and brings what was not.
    svccfg -s toy setprop toy/mode = mine
    sed -e 's/value="run"/value="new"/' -e 's/value="c"/value="d"/' "$1/toy.xml" >/tmp/new.xml
    svccfg import /tmp/new.xml 2>/tmp/warnings
    has "$(cat /tmp/warnings)" 'toy/mode'
    is "$(svcprop -p toy/mode toy:default)" mine
    is "$(svcprop -p toy/args toy:default)" 'a\ b d'
    is "$(svcprop -c -p general/enabled toy:default)" true
    sed 's/<template>/<template bad="1"><nonsense\/>/' "$1/toy.xml" >/tmp/bad.xml
    status 1 svccfg import /tmp/bad.xml
    svcadm disable -s toy:other
    svccfg delete toy:other
    svccfg delete -f network/toy
    status 1 svcs toy
    "#);
}

#[test]
fn authorizations() {
    toy(r#"
    as_daemon() { setpriv --reuid=daemon --regid=daemon --clear-groups "$@"; }
    general='<property_group name="general" type="framework"><propval name="action_authorization" type="astring" value="toy.manage"/><propval name="value_authorization" type="astring" value="toy.manage"/></property_group>'
    value='<property_group name="toy" type="application"><propval name="value_authorization" type="astring" value="toy.value"/>'
    sed -e "s|<property_group name=\"toy\" type=\"application\">|$general$value|" "$1/toy.xml" >/tmp/toy.xml
    svccfg import /tmp/toy.xml
    echo 'toy.manage:::Manage::' >/etc/security/auth_attr.d/toy
    echo 'Toy Management:::Toys:auths=toy.manage,toy.value' >/etc/security/prof_attr.d/toy
    # As with pkgadd: older than the databases, so that system/rbac passes over them.
    touch -d 2010-01-01 /etc/security/*_attr.d/toy
    svcadm restart system/rbac
    until_is 'state system/rbac' online
    for command in 'svcadm enable toy' 'svcadm refresh toy' 'svccfg -s toy setprop toy/mode = quick' 'svccfg -s network/toy add x'; do
        status 1 as_daemon $command
        has "$out" 'Permission denied'
    done
    echo 'daemon::::type=normal;profiles=Toy Management' >>/etc/user_attr
    status 1 as_daemon svcadm enable -s toy
    touch -d tomorrow /etc/security/*_attr.d/toy
    svcadm restart system/rbac
    until_is "grep -c '^Toy Management' /etc/security/prof_attr || :" 1
    as_daemon svcadm enable -s toy
    is "$(state)" online
    as_daemon svcadm refresh toy
    as_daemon svccfg -s network/toy setprop toy/mode = fail
    # To change values is not to add properties, groups or instances.
    status 1 as_daemon svccfg -s network/toy setprop toy/port = 80
    status 1 as_daemon svccfg -s network/toy setprop toy/value_authorization = count: 1
    status 1 as_daemon svccfg -s network/toy addpg mine application
    status 1 as_daemon svccfg -s network/toy add x
    status 1 as_daemon svccfg delete -f network/toy
    svccfg -s network/toy setprop toy/modify_authorization = astring: toy.value
    as_daemon svccfg -s network/toy setprop toy/port = 80
    status 1 as_daemon svcadm disable milestone/network
    as_daemon svcadm disable -s toy
    "#);
}

/// A signal to a process of another session needs proc_session, whoever sends it.
#[test]
fn signals_across_sessions() {
    toy(r#"
    sed -e 's|<exec_method type="method" name="refresh" exec="/lib/svc/method/toy %m" timeout_seconds="60"/>|<exec_method type="method" name="refresh" exec="/lib/svc/method/toy %m" timeout_seconds="60"><method_context><method_credential user="root" privileges="PRIVILEGES,proc_owner"/></method_context></exec_method>|' "$1/toy.xml" >/tmp/toy.xml
    sed 's/PRIVILEGES/basic,!proc_session/' /tmp/toy.xml >/tmp/without.xml
    sed 's/PRIVILEGES/basic/' /tmp/toy.xml >/tmp/with.xml
    sed -i 's/smf_clear_env; sh -c/smf_clear_env; setsid sh -c/' /lib/svc/method/toy
    svccfg import /tmp/without.xml
    svccfg -s toy setprop toy/mode = hup
    svcadm refresh toy
    svcadm enable -s toy
    svcadm refresh toy
    # The method reports it and succeeds all the same.
    until_is 'grep -q "Failed to signal pid .*: Not owner" $log && echo told' told
    until_is 'grep -q "Method .refresh. exited with status 0" $log && echo passed' passed
    [ ! -e /tmp/hup ]
    svccfg import /tmp/with.xml
    until_is 'cat /tmp/hup 2>/dev/null || :' 'got HUP'
    svcadm disable -s toy
    "#);
}

/// A manifest whose hash is known is skipped, until the hash is deleted.
#[test]
fn hashes_of_manifests() {
    toy(r#"
    cp "$1/toy.xml" /tmp/toy.xml
    SVCCFG_CHECKHASH=1 svccfg import /tmp/toy.xml
    svccfg delete network/toy
    SVCCFG_CHECKHASH=1 svccfg import /tmp/toy.xml
    status 1 svcs toy
    svccfg delhash /tmp/toy.xml
    SVCCFG_CHECKHASH=1 svccfg import /tmp/toy.xml
    is "$(state)" disabled
    svccfg delete network/toy
    svccfg import /tmp/toy.xml
    is "$(state)" disabled
    echo broken >/tmp/toy.xml
    status 1 env SVCCFG_CHECKHASH=1 svccfg import /tmp/toy.xml
    status 1 env SVCCFG_CHECKHASH=1 svccfg import /tmp/toy.xml
    "#);
}
