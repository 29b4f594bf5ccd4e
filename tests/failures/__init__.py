"""What has gone wrong in other mirrors: each item of the project's list, played to the end.

The items are numbered as in facts/failures.md. A test here goes through real sockets, from a
client over the mirror to a scripted upstream; what is tested elsewhere as well, or only, is
named.

== ============================================ ================================================
no what went wrong                              where it is tested
== ============================================ ================================================
1  a cut body that looks complete               test_bodies; tests/mirror/test_blobs, test_pump
2  a connection reset in the middle of a blob   test_bodies; tests/mirror/test_pump
3  a full disk                                  test_disk, tests/crash/test_disk (real disks);
                                                tests/storage/test_filesystem, test_partial
4  a limit crossed while a blob arrives         test_disk
5  a signed redirect kept too long              test_redirects; tests/upstream/test_transfer
6  a credential sent along a redirect           test_redirects; tests/upstream/test_secrets
7  a hostile token realm                        test_redirects; tests/upstream/test_secrets,
                                                test_realm
8  an index without its children                test_outages
9  upstream down, limited or silent             test_outages; tests/mirror/test_manifests
10 one client leaves and all suffer             test_sharing; tests/server/test_streaming
11 an error that stops the client's fallback    test_outages; tests/server/test_errors, test_app
12 media types rewritten                        test_sharing; tests/mirror/test_manifests
13 a shared blob removed                        test_sharing (nothing is ever removed yet)
14 a process that cannot start                  test_outages; tests/crash
15 collected garbage answers 200, empty         test_sharing, test_damage;
                                                tests/storage/test_filesystem
16 memory grows with blobs or clients           test_memory (marked scale)
== ============================================ ================================================
"""
