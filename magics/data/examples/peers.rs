use dds_core::{Source, RepoPath, RepoUrl};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let cx = dds_core::Cx::silent("/");
    if a[1] == "create" {
        let mut o = dds_data::create::Options::default(); o.folder = Some(dds_core::RepoPath::parse(&a[5]).unwrap()); o.remote = Some((&a[4]).into());
        println!("{:?}", dds_data::create::git_dvc_repo(a[2].as_ref(), a[3].as_ref(), &o, &cx));
    } else if a[1] == "bench" {
        let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        for round in 0..3 {
        let cache = format!("/tmp/pt/cache-{}-{round}", std::process::id());
        let config = dds_core::Config { exe: "".into(), cache_dir: cache.clone().into(), config_dir: "".into(), runtime_dir: "".into(), dagshub_host: "".into(), dagshub_token: None, dagshub_login: None, threads: 2 };
        let t = std::time::Instant::now();
        let s = dds_data::open_repo(&RepoUrl::parse(&a[2]).unwrap(), &config, &cx).unwrap();
        let l = s.list(&RepoPath::parse("data/clipart").unwrap(), true, &cx).unwrap();
        println!("open+list {:?} {}", t.elapsed(), l.len());
        let paths: Vec<_> = l.iter().map(|e| e.path.clone()).collect();
        let (base, rest) = a[2].split_once("/local/").unwrap();
        let api = format!("{base}/api/v1/repos/local/{rest}/raw/{}/", s.commit());
        let t = std::time::Instant::now();
        rt.block_on(async {
            let c = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
            let q = std::sync::Arc::new(std::sync::Mutex::new(paths.iter().map(|p| format!("{api}{p}")).collect::<Vec<_>>()));
            let mut hs = vec![];
            for _ in 0..32 { let (c, q) = (c.clone(), q.clone()); hs.push(tokio::spawn(async move { loop { let Some(u) = q.lock().unwrap().pop() else { break }; c.get(u).send().await.unwrap().bytes().await.unwrap(); } })); }
            for h in hs { h.await.unwrap(); }
        });
        let floor = t.elapsed();
        let t = std::time::Instant::now();
        s.announce(&paths);
        let mut n = 0; let mut first = None;
        for p in &paths { n += s.read(p, &cx).unwrap().len(); first.get_or_insert(t.elapsed()); }
        let ours = t.elapsed();
        println!("floor {floor:?} announce+read {ours:?} ratio {:.2} bytes {n} first {first:?}", ours.as_secs_f64() / floor.as_secs_f64());
        let t = std::time::Instant::now();
        for p in &paths { s.read(p, &cx).unwrap(); }
        println!("again {:?}", t.elapsed());
        let s = dds_data::open_repo(&RepoUrl::parse(&a[2]).unwrap(), &config, &cx).unwrap();
        s.list(&RepoPath::parse("data/clipart").unwrap(), true, &cx).unwrap();
        let t = std::time::Instant::now();
        for p in &paths { s.read(p, &cx).unwrap(); }
        println!("from disk {:?}", t.elapsed());
        let _ = std::fs::remove_dir_all(&cache);
        }
    } else {
        let mut o = dds_data::serve::ServeOptions::default();
        o.addr.set_port(a.get(3).and_then(|p| p.parse().ok()).unwrap_or(0));
        o.token = a.get(4).map(|t| dds_core::Secret::new(t.clone()));
        let s = dds_data::serve::Server::start(a[2].as_ref(), o, &cx).unwrap();
        println!("serving {}", s.repo_url());
        std::thread::park();
    }
}
