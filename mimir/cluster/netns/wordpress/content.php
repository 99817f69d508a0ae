<?php
// Installs WordPress and fills it: accounts, categories, posts, comments, options. Reads /run/content.json.
$content = json_decode(file_get_contents('/run/content.json'), true);
$_SERVER += ['HTTP_HOST' => $content['host'], 'HTTPS' => 'on', 'REQUEST_METHOD' => 'GET', 'REQUEST_URI' => '/',
             'SERVER_PROTOCOL' => 'HTTP/1.1', 'REMOTE_ADDR' => '127.0.0.1'];
define('WP_INSTALLING', true);
define('WP_DISABLE_FATAL_ERROR_HANDLER', true);  // errors go to the log as they are
function wp_mail() { return true; }                  // there is no mail server
function wp_install_defaults($user) {                // instead of the sample posts
    global $wpdb;
    $wpdb->insert($wpdb->terms, ['term_id' => 1, 'name' => 'General', 'slug' => 'general', 'term_group' => 0]);
    $wpdb->insert($wpdb->term_taxonomy, ['term_taxonomy_id' => 1, 'term_id' => 1, 'taxonomy' => 'category', 'description' => '', 'parent' => 0, 'count' => 0]);
    update_option('default_category', 1);
}
function wp_new_blog_notification($title, $url, $user, $password) {}
require '/usr/share/wordpress/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

wp_install('Mimir', 'admin', 'admin@example.org', true, '', $content['password']);
switch_theme($content['theme']);
update_option('posts_per_page', $content['per_page']);
update_option('comment_moderation', 0);
update_option('comment_previously_approved', 0);
wp_defer_term_counting(true);
wp_defer_comment_counting(true);

$words = explode(' ', 'alder birch cedar elm fir hazel juniper larch maple oak pine rowan spruce walnut willow yew');
mt_srand($content['seed']);
function prose($bytes) {
    global $words;
    $text = '';
    while (strlen($text) < $bytes) {
        $text .= $words[mt_rand(0, count($words) - 1)] . (mt_rand(0, 9) ? ' ' : ".\n\n");
    }
    return substr($text, 0, $bytes);
}

foreach ($content['authors'] as $name) {
    $id = wp_insert_user(['user_login' => $name, 'user_pass' => $content['password'], 'user_email' => "$name@example.org", 'role' => 'author']);
    update_user_meta($id, '_application_passwords', [['uuid' => wp_generate_uuid4(), 'app_id' => '', 'name' => 'mimir', 'created' => time(),
        'password' => wp_hash_password($content['password']), 'last_used' => null, 'last_ip' => null]]);
}
update_site_option('using_application_passwords', 1);
for ($n = 1; $n < $content['categories']; $n++) {
    wp_insert_term(sprintf('%s %s %03d', $words[$n % count($words)], $words[intdiv($n, 7) % count($words)], $n), 'category');
}
foreach ($content['posts'] as $number => $bytes) {
    $id = wp_insert_post(['import_id' => $number + 1, 'post_title' => "Post $number", 'post_content' => prose($bytes), 'post_status' => 'publish',
        'post_author' => 1, 'post_date' => gmdate('Y-m-d H:i:s', 1600000000 + 86400 * $number)]);
    for ($n = 0; $n < $content['comments']; $n++) {
        wp_insert_comment(['comment_post_ID' => $id, 'comment_author' => $words[$n], 'comment_author_email' => 'reader@example.org',
            'comment_content' => prose(200), 'comment_approved' => 1]);
    }
}
wp_defer_term_counting(false);
wp_defer_comment_counting(false);
// the blog's footer names all categories and the latest comments
$footer = wp_insert_post(['post_type' => 'wp_template_part', 'post_name' => 'footer', 'post_title' => 'Footer', 'post_status' => 'publish',
    'post_content' => '<!-- wp:categories {"showEmpty":true} /--><!-- wp:latest-comments /-->']);
wp_set_object_terms($footer, $content['theme'], 'wp_theme');
wp_set_object_terms($footer, 'footer', 'wp_template_part_area');
$known = strlen(serialize(wp_load_alloptions(true)));
update_option('mimir_settings', prose(max(1, $content['options_bytes'] - $known)), true);
echo json_encode(['posts' => (int) wp_count_posts()->publish, 'authors' => count($content['authors']),
                  'categories' => (int) wp_count_terms(['taxonomy' => 'category', 'hide_empty' => false])]), "\n";
